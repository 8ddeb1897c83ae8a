-- What watching costs, at 1,000 shards: CPU time of manager and worker for a scrape of /metrics, and what
-- events notice of 50 clients that each ask for /shards once a second. The clients run in this process: where
-- there are fewer than four cores, they and the fake Discord take time from the gateway.

local http = require "spec.support.http"
local lab = require "spec.bench.lab"
local loop = require "spec.support.loop"
local uv = require "luv"

local control = {}

local SHARDS = 1000
local SCRAPES = 40
local SCRAPE_AIM = 10 -- ms of the manager
local CLIENTS, POLL_EVERY = 50, 1000
local EVENTS = 300000 -- a burst, over all shards
local HARM_AIM = 0.95

-- ---- clients ----

local poll

local function answered(self, problem)
  self.stream:close()
  self.answers = self.answers + (problem and 0 or 1)
  self.failures = self.failures + (problem and 1 or 0)
  if self.stopped then
    self.timer:close()
  else
    self.timer:start(POLL_EVERY, 0, loop.callback(function() poll(self) end))
  end
end

function poll(self)
  local text = ("GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"):format(self.path)
  local bytes = 0
  self.stream = uv.new_tcp()
  self.stream:connect(self.target.host, self.target.port, loop.callback(function(failed)
    if failed then
      answered(self, failed)
      return
    end
    self.stream:write(text)
    self.stream:read_start(loop.callback(function(problem, chunk)
      bytes = bytes + #(chunk or "")
      if not chunk then
        answered(self, problem or (bytes == 0 and "no answer"))
      end
    end))
  end))
end

local function start_pollers(url, path)
  local pollers = {}
  for i = 1, CLIENTS do
    local self = { target = http.parse_url(url), path = path, timer = uv.new_timer() }
    self.answers, self.failures = 0, 0
    pollers[i] = self
    -- Spread over the interval.
    self.timer:start(i * POLL_EVERY / CLIENTS, 0, loop.callback(function() poll(self) end))
  end
  return pollers
end

-- Returns the number of answers.
local function stop_pollers(pollers)
  local answers, failures = 0, 0
  for _, self in ipairs(pollers) do
    self.stopped = true
    if self.timer:is_active() then
      self.timer:close()
    end
  end
  lab.wait_until("the last answers", function()
    for _, self in ipairs(pollers) do
      if not self.timer:is_closing() then
        return false
      end
    end
    return true
  end)
  for _, self in ipairs(pollers) do
    answers, failures = answers + self.answers, failures + self.failures
  end
  assert(failures == 0, failures .. " polls were not answered")
  return answers
end

-- ---- measures ----

local function measure_scrapes(set_up)
  local manager, bytes = set_up.gateway.pid, 0
  local function cost_of(path)
    local cpu, worker = lab.cpu(manager), lab.cpu(set_up.worker)
    for _ = 1, SCRAPES do
      bytes = #assert(set_up.gateway:control("GET", path)).body
    end
    return (lab.cpu(manager) - cpu) / SCRAPES / 1000, (lab.cpu(set_up.worker) - worker) / SCRAPES / 1000
  end
  cost_of "/metrics" -- to warm up
  local ms, worker = cost_of "/metrics"
  print(("  /metrics, %d KB: manager %.2f ms   %s <= %g;   worker %.3f ms (its heartbeats meanwhile)"):format(
    bytes / 1024, ms, ms <= SCRAPE_AIM and "ok  " or "MISS", SCRAPE_AIM, worker))
  ms = cost_of "/shards"
  print(("  /shards, %d KB: manager %.2f ms"):format(bytes / 1024, ms))
end

local function measure_harm(options, set_up)
  local burst = { events = EVENTS * options.scale, writes = "bulk" }
  local alone, watched, cpu_alone, cpu_watched, answers = {}, {}, {}, {}, 0
  set_up:burst(burst) -- to warm up
  for round = 1, options.rounds * 2 do
    cpu_alone[round], alone[round] = set_up:burst(burst)
    local pollers = start_pollers(set_up.gateway:control_url(), "/shards")
    cpu_watched[round], watched[round] = set_up:burst(burst)
    answers = answers + stop_pollers(pollers)
  end
  local before, after = lab.median(alone), lab.median(watched)
  local ratio = after / before
  print(("  events a second: %.0f alone, %.0f with %d clients at /shards (%d answers)"):format(
    before, after, CLIENTS, answers))
  print(("  ratio of these two: %.2f   %s >= %g   (%d cores)"):format(
    ratio, ratio >= HARM_AIM and "ok  " or "MISS", HARM_AIM, #uv.cpu_info()))
  print(("  CPU microseconds an event of the worker: %.2f alone, %.2f with them"):format(
    lab.median(cpu_alone), lab.median(cpu_watched)))
end

function control.measure(options)
  print(("Watching %d shards:"):format(SHARDS))
  local set_up = lab.start { shards = SHARDS }
  set_up:wait_guilds()
  measure_scrapes(set_up)
  measure_harm(options, set_up)
  set_up:stop()
end

return control
