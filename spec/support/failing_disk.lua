-- A disk that fails under the processes under test, while they run: what event logs and a resharding write is
-- refused with an error of one's choice.
--
--   local disk = failing_disk.new()
--   local s = scene.start { env = disk:env { LOG_LEVEL = "info" } }
--   disk:fail(failing_disk.EIO)                 with failing_disk.new "/sinks/audit/": files there alone
--   disk:mend()
--   failing_disk.new(nil, 500):env()            a disk that takes 500 ms for each fdatasync(2)

local ffi = require "ffi"
local paths = require "spec.support.paths"
local preload = require "spec.support.preload"

local failing_disk = { EIO = 5, ENOSPC = 28, EDQUOT = 122 }

local Disk = {}
Disk.__index = Disk

function failing_disk.new(part, slow_sync)
  local self = setmetatable({ path = paths.tmp() .. "/error", part = part, slow_sync = slow_sync }, Disk)
  paths.write(self.path, ("\0"):rep(4))
  return self
end

-- The environment of such processes: `more` and what makes the disk.
function Disk:env(more)
  return preload.env("failing_disk", {
    TG_FAILING_DISK = self.path,
    TG_FAILING_PATH = self.part,
    TG_SLOW_SYNC = self.slow_sync and tostring(self.slow_sync),
  }, more)
end

function Disk:fail(number)
  local file = assert(io.open(self.path, "r+b"))
  assert(file:write(ffi.string(ffi.new("int[1]", number), 4)))
  assert(file:close())
end

function Disk:mend()
  self:fail(0)
end

return failing_disk
