-- A wall clock of their own for processes under test, to be moved while they run; the machine's stays.
--
--   local clock = wall_clock.new()
--   local s = scene.start { env = clock:env { LOG_LEVEL = "info" } }
--   clock:step(3 * wall_clock.DAY)      NTP has found out what day it is; negative: backwards
--   clock:set(0)                        ms since 1970
--
-- All processes with that environment, and their children, share it: clock_gettime(CLOCK_REALTIME),
-- gettimeofday and time of C, and so os.time of their scripts. The monotonic clock is the machine's, as are
-- the times of files. A thread that waits until a moment of the wall clock (pthread_cond_timedwait) is woken
-- by the machine's own clock: after a step forward it sleeps as much longer as, in the world, after one
-- backwards.

local ffi = require "ffi"
local paths = require "spec.support.paths"
local preload = require "spec.support.preload"
local uv = require "luv"

local wall_clock = { SECOND = 1000, MINUTE = 60000, HOUR = 3600000, DAY = 86400000 }

local Clock = {}
Clock.__index = Clock

local function machine()
  local seconds, microseconds = uv.gettimeofday()
  return seconds * 1000 + math.floor(microseconds / 1000)
end

function wall_clock.new()
  local self = setmetatable({ path = paths.tmp() .. "/ahead", ahead = 0 }, Clock)
  paths.write(self.path, ("\0"):rep(8))
  return self
end

-- The environment of such processes: `more` and what makes the clock.
function Clock:env(more)
  return preload.env("wall_clock", { TG_WALL_CLOCK = self.path }, more)
end

-- What the processes see, in ms since 1970.
function Clock:now()
  return machine() + self.ahead
end

-- Moves it by so many ms, at once.
function Clock:step(ms)
  self.ahead = self.ahead + ms
  local file = assert(io.open(self.path, "r+b"))
  assert(file:write(ffi.string(ffi.new("int64_t[1]", self.ahead * 1000000LL), 8)))
  assert(file:close())
end

function Clock:set(ms)
  self:step(ms - self:now())
end

return wall_clock
