-- kill -9 at an exact moment, in the middle of a turn of the processes under test: right before or after they
-- rename, remove or write a file of the state directory.
--
--   local death = sudden_death.new()
--   local s = scene.start { env = death:env() }
--   death:plan { { "rename", "reshard.", "before" } }       who is about to do that dies
--   death:plan({ { "rename", "reshard.", "after", 3 } }, "group")      the third time; and all die
--   death:plan { { "rename", "reshard.", "after" }, { "pwrite", ".segment", "before" } }
--                                                           one step after another, of the same process
--   death:has_struck()                                      and then nobody else dies
--
-- A step is {"rename" (to), "unlink", "pwrite" or "write", a part of the file's name, "before" or "after",
-- count}. A part with a "/" is a pattern of fnmatch(3) that may stand anywhere in the whole path:
-- "/sinks/audit/*.segment".

local ffi = require "ffi"
local paths = require "spec.support.paths"
local preload = require "spec.support.preload"

ffi.cdef [[
struct tg_spec_plan {
  int32_t number, victim;
  struct { int32_t call, count, after; char name[52]; } steps[4];
};
]]

local sudden_death = {}

local CALLS = { rename = 1, unlink = 2, pwrite = 3, write = 4 }
local VICTIMS = { self = 0, parent = 1, group = 2 }

local Death = {}
Death.__index = Death

local function write(self, plan)
  local file = assert(io.open(self.path, "r+b"))
  assert(file:write(ffi.string(plan, ffi.sizeof(plan))))
  assert(file:close())
end

function sudden_death.new()
  local self = setmetatable({ path = paths.tmp() .. "/plan", number = 0 }, Death)
  paths.write(self.path, ("\0"):rep(ffi.sizeof "struct tg_spec_plan"))
  return self
end

-- The environment of such processes: `more` and what kills.
function Death:env(more)
  return preload.env("sudden_death", { TG_SUDDEN_DEATH = self.path }, more)
end

-- victim: "self" (whoever comes to the last step; default), "parent" (of that one), "group" (all of its).
function Death:plan(steps, victim)
  local plan = ffi.new "struct tg_spec_plan"
  self:cancel() -- nobody reads half of it
  for i, step in ipairs(steps) do
    local call, name, when, count = unpack(step)
    plan.steps[i - 1].call = assert(CALLS[call], "there is no such call")
    plan.steps[i - 1].count = count or 1
    plan.steps[i - 1].after = assert(({ before = 0, after = 1 })[when])
    assert(#name < ffi.sizeof(plan.steps[i - 1].name), "the name is too long")
    plan.steps[i - 1].name = name
  end
  plan.victim = VICTIMS[victim or "self"]
  write(self, plan)
  self.number = self.number + 1
  plan.number = self.number
  write(self, plan)
end

function Death:cancel()
  write(self, ffi.new "struct tg_spec_plan")
end

function Death:has_struck()
  return paths.read(self.path):sub(1, 4) == "\0\0\0\0"
end

return sudden_death
