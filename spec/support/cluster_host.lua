-- One host of a cluster_trial: a gateway with a name, a state directory, and perhaps a proxy to Redis.
--
--   host.name, host.gateway                "gw-1"; as spec.support.gateway has it
--   host:kill()  host:freeze()  host:thaw()  host:stop()  host:again { intents = 1 }
--   host:shards()                          of which it has a lease
--   host.proxy:cut()                       spec.support.redis_proxy

local assert = require "luassert"
local uv = require "luv"

local cluster_host = {}

local NAME = "bot"

-- What stands before each key of the cluster.
cluster_host.KEY = ("tidegate:{%s}:"):format(NAME)

local Host = {}
Host.__index = Host

function cluster_host.new(trial, name, proxy)
  return setmetatable({ trial = trial, name = name, proxy = proxy, options = {} }, Host)
end

-- Options of gateway.start() that hold from now on.
function Host:set(changes)
  for name, value in pairs(changes or {}) do
    self.options[name] = value
  end
end

-- On its state directory, if it was there before.
function Host:start(changes)
  self:set(changes)
  local options = {}
  for name, value in pairs(self.options) do
    options[name] = value
  end
  options.state_dir = self.gateway and self.gateway.state_dir
  options.env = {
    TIDEGATE_CLUSTER = (self.proxy or self.trial.redis):url(), TIDEGATE_CLUSTER_NAME = NAME,
    TIDEGATE_CLUSTER_HOST = self.name,
  }
  for name, value in pairs(self.options.env or {}) do
    options.env[name] = value
  end
  self.gateway = self.trial.scene:run(options)
  return self
end

Host.again = Host.start

function Host:runs()
  return self.gateway ~= nil and not self.gateway.process.ended and not self.is_frozen
end

-- All its processes, at once, from one moment to the next. Returns what it had, and Discord's clock.
function Host:kill()
  local shards, since = self:shards(), self.trial:now()
  local workers = self.gateway:worker_pids()
  uv.kill(-self.gateway.pid, "sigkill")
  self.gateway.process:wait()
  self.trial:await_end(workers)
  return shards, since
end

-- All its processes stand still; its connections stay.
function Host:freeze()
  local shards, since = self:shards(), self.trial:now()
  self.is_frozen = true
  uv.kill(-self.gateway.pid, "sigstop")
  return shards, since
end

function Host:thaw()
  self.is_frozen = false
  uv.kill(-self.gateway.pid, "sigcont")
end

-- A signal (SIGTERM), and it has ended; returns what it had, and Discord's clock from before.
function Host:stop(signal)
  local shards, since = self:shards(), self.trial:now()
  local code = self.gateway:stop(signal or "SIGTERM", 60000)
  assert.equal(0, code)
  return shards, since
end

-- The same by its control API.
function Host:shut_down()
  self.gateway.stopping = true
  local answer = self.gateway:control("POST", "/shutdown")
  assert.equal(202, answer.status, answer.body)
  assert.equal(0, (self.gateway.process:wait(60000)))
end

-- Numbers of the shards of which it has a lease, in order.
function Host:shards()
  local list = {}
  for shard, lease in pairs(self.trial:leases()) do
    if lease.host == self.name then
      list[#list + 1] = shard
    end
  end
  table.sort(list)
  return list
end

return cluster_host
