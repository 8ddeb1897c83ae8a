-- Numbers that are random from run to run, and the same again with the seed that a run has printed:
--
--   local random = require("spec.support.random").new()      prints "# seed 4711"
--   random:between(0, 150), random:one_of(list), random:chance(0.25)
--
-- TG_SPEC_SEED=4711 repeats that run's choices.

local uv = require "luv"

local random = {}

local Random = {}
Random.__index = Random

local MODULUS = 2147483647 -- 2^31 - 1: a prime, and the products stay exact

function random.new(seed)
  seed = seed or tonumber(os.getenv "TG_SPEC_SEED" or "") or (uv.hrtime() / 1000 + uv.os_getpid())
  seed = math.floor(seed) % (MODULUS - 1) + 1
  print("# seed " .. seed - 1)
  return setmetatable({ state = seed }, Random)
end

-- In [0, 1).
function Random:unit()
  self.state = self.state * 48271 % MODULUS
  return (self.state - 1) / (MODULUS - 1)
end

-- A whole number, both ends included.
function Random:between(from, to)
  return from + math.floor(self:unit() * (to - from + 1))
end

function Random:one_of(list)
  return list[self:between(1, #list)]
end

function Random:chance(probability)
  return self:unit() < probability
end

return random
