-- The real gateway (`tidegate run`) in front of a fake Discord and a bot.
--
--   local gateway = require("spec.support.gateway")
--   after_each(gateway.teardown)
--
--   local g = gateway.start { fake = fake, bot = bot, script = [[ ... Lua ... ]], workers = 2 }
--   g:wait_ready(4)
--   g:control("POST", "/reload").status
--   g:stop()                  SIGTERM; g.process.exit_code
--
-- With TG_SPEC_RELOAD=1 the script is reloaded when the gateway is up, and again before each step of the spec
-- (loop.step). Specs whose script keeps something that a reload ends (local variables, functions that wait)
-- say reload = false.
--
-- teardown() stops every gateway of the spec and fails it when a sanitizer has reported something or a secret
-- stands in a log.

local bot_support = require "spec.support.bot"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local raw_bot = require "spec.support.raw_bot"
local redis = require "spec.support.redis"

local gateway = {}

local Gateway = {}
local started = {}
local RELOADS = os.getenv "TG_SPEC_RELOAD" == "1"

function Gateway:__index(key)
  if key == "stderr" or key == "stdout" or key == "pid" or key == "exit_code" or key == "signal" then
    return rawget(self, "process")[key]
  end
  return Gateway[key]
end

local SECRETS = {
  "DISCORD_TOKEN", "EVENT_HANDLER_SECRET_KEY", "TIDEGATE_CONTROL_SECRET", "REST_AUTHORIZATION",
}

local function script_path(self, script)
  if not script then
    return nil
  elseif script:find "\n" or script:find "^%s*$" or not script:find "%.lua$" then
    return paths.write(self.dir .. "/script.lua", script)
  end
  return script
end

local function bot_urls(bots)
  local urls = {}
  for i, bot in ipairs(bots) do
    urls[i] = bot.url
  end
  return table.concat(urls, ",")
end

local function environment(self, options)
  local fake = options.fake
  local bots = options.bot and (options.bot.url and { options.bot } or options.bot) or {}
  local env = {
    DISCORD_TOKEN = fake and fake.token or "fake-token",
    REST_URL = fake and fake.rest,
    TIDEGATE_CA_FILE = fake and fake.ca,
    INTENTS = options.intents or 33281, -- guilds, guild messages, message content
    EVENT_HANDLER_URL = #bots > 0 and bot_urls(bots) or nil,
    EVENT_HANDLER_SECRET_KEY = bots[1] and bots[1].authorization or nil,
    TIDEGATE_STATE_DIR = self.state_dir,
    TIDEGATE_CONTROL = "127.0.0.1:0",
    TOTAL_WORKERS = options.workers,
    TOTAL_SHARDS = options.shards,
    SHARDS_PER_WORKER = options.shards_per_worker,
    SPAWN_SHARD_DELAY = options.spawn_shard_delay or (fake and fake.identify_interval) or 100,
    LOG_LEVEL = options.log_level or "debug",
  }
  for name, value in pairs(options.env or {}) do
    env[name] = value
  end
  return env
end

-- options: fake (needed for all but start-up errors: rest, ca, token), bot (one or a list), script (Lua text,
-- or the path of a .lua file), workers, shards, shards_per_worker, spawn_shard_delay, intents, log_level, env
-- (wins over all of these; false takes a variable away), args (more arguments), wrap (words in front of the
-- command line), program (the file, else that of the build), state_dir (of an earlier gateway, to resume),
-- reload (false: not in steps).
function gateway.start(options)
  local dir = paths.tmp()
  local self = setmetatable({
    dir = dir,
    state_dir = options.state_dir or dir .. "/state",
    ready = {},
    ready_count = 0,
  }, Gateway)
  local argv = {}
  for _, word in ipairs(options.wrap or {}) do
    argv[#argv + 1] = word
  end
  argv[#argv + 1] = options.program or paths.bin "tidegate"
  argv[#argv + 1] = "run"
  for _, arg in ipairs(options.args or {}) do
    argv[#argv + 1] = arg
  end
  self.script = script_path(self, options.script)
  argv[#argv + 1] = self.script
  local env = environment(self, options)
  self.reloads = RELOADS and options.reload ~= false and env.LOG_LEVEL ~= "warn" and env.LOG_LEVEL ~= "error"
  self.control_secret = env.TIDEGATE_CONTROL_SECRET
  self.holds_back = env.LOG_LEVEL ~= "debug"
  self.secrets = {}
  for _, name in ipairs(SECRETS) do
    local secret = env[name]
    if type(secret) == "string" and #secret >= 6 then -- shorter words are not masked
      self.secrets[#self.secrets + 1] = secret
    end
  end
  self.process = process.start(argv, { env = env, cwd = dir })
  started[#started + 1] = self
  return self
end

-- Waits until something matching the pattern is logged; returns the captures.
function Gateway:wait_for_log(pattern, timeout)
  return self.process:wait_for_output(pattern, "stderr", timeout)
end

-- How many log lines match.
function Gateway:count_log(pattern)
  local count = 0
  for line in self.stderr:gmatch "[^\n]+" do
    if line:find(pattern) then
      count = count + 1
    end
  end
  return count
end

-- Whole log lines that have come since the last call with the same mark (a table kept in self).
local function new_lines(self, mark)
  local log = self.stderr
  local from = (self[mark] or 0) + 1
  local to = from - 1
  local lines = {}
  for line, last in log:sub(from):gmatch "([^\n]*)\n()" do
    lines[#lines + 1] = line
    to = from + last - 2
  end
  self[mark] = to
  return lines
end

local SHARD_IS_UP = {
  "shard (%d+): ready:", "shard (%d+): resumed epoch=",
  '"shard":(%d+),"message":"ready:', '"shard":(%d+),"message":"resumed"',
}

-- Of many shards at once some lines are held back, but at debug level.
local ALL_ARE_UP = {
  "manager: all shards are up shards=(%d+)", '"message":"all shards are up","shards":(%d+)',
}

-- How many different shards have become ready or have resumed, since the start.
function Gateway:ready_shards()
  for _, line in ipairs(new_lines(self, "ready_mark")) do
    for _, pattern in ipairs(SHARD_IS_UP) do
      local shard = line:match(pattern)
      if shard and not self.ready[shard] then
        self.ready[shard] = true
        self.ready_count = self.ready_count + 1
      end
    end
    for _, pattern in ipairs(self.holds_back and ALL_ARE_UP or {}) do
      self.ready_count = math.max(self.ready_count, tonumber(line:match(pattern)) or 0)
    end
  end
  return self.ready_count
end

function Gateway:wait_ready(n, timeout)
  loop.wait_for(function()
    return ("%d shards to be ready; %d are. The log ends:\n%s"):format(
      n, self:ready_shards(), self.stderr:sub(-3000))
  end, function()
    return self:ready_shards() >= n or self.process.ended
  end, timeout, 2)
  if self.process.ended then
    error(("the gateway has ended with %s:\n%s"):format(
      tostring(self.exit_code or self.signal), self.stderr:sub(-3000)), 2)
  end
  loop.step()
end

function Gateway:worker_pids()
  return process.children(self.pid)
end

-- SIGHUP; waits for the line that says how it went. True when the new script runs.
function Gateway:reload(timeout)
  local from = #self.stderr
  self.process:kill "SIGHUP"
  local outcome
  loop.wait_for(function()
    return "the reload; the log ends:\n" .. self.stderr:sub(-2000)
  end, function()
    for line in self.stderr:sub(from + 1):gmatch "[^\n]*\n" do
      if line:find "manager: reloaded generation=" or line:find '"message":"reloaded"'
        or line:find "the reload failed" then
        outcome = line
      end
    end
    return outcome
  end, timeout, 2)
  return not outcome:find "the reload failed", outcome
end

-- A reload as part of a step; not while the gateway starts or stops.
function Gateway:step()
  if not self.reloads or self.process.ended or self.stopping or self:ready_shards() == 0 then
    return
  end
  local from = #self.stderr
  -- Of a spec that has just killed a worker, the reload may still ask that one.
  if not self:reload(20000) and not (self.stderr:find("the process that was asked has gone", from + 1, true)
    and self:reload(20000)) then
    error("the reload before a step of the spec has failed. The log ends:\n" .. self.stderr:sub(-2000), 0)
  end
end

if RELOADS then
  function loop.before_step()
    for _, self in ipairs(started) do
      self:step()
    end
  end
end

-- Where the control API listens: "http://127.0.0.1:8377", or as http.parse_url() takes a unix socket.
function Gateway:control_url()
  if not self.control_at then
    local at = self:wait_for_log "the control API is at ([^%s\"]+)"
    self.control_at = at:gsub("^unix:(.*)", "http+unix://%1:")
  end
  return self.control_at
end

-- A request to the control API; options as in http.request(). The secret of the gateway's environment is sent
-- along, unless options.secret is another one, or false.
function Gateway:control(method, path, options)
  options = options or {}
  local headers = {}
  for name, value in pairs(options.headers or {}) do
    headers[name] = value
  end
  local secret = options.secret
  if secret == nil then
    secret = self.control_secret
  end
  headers.Authorization = headers.Authorization or secret or nil
  local passed = { headers = headers, json = options.json, body = options.body, timeout = options.timeout }
  return http.request(method, self:control_url() .. path, passed)
end

-- Sends the signal (default SIGTERM: sessions are kept) and waits; returns exit code and signal.
function Gateway:stop(signal, timeout)
  self.stopping = true
  self.process:kill(signal or "SIGTERM")
  return self.process:wait(timeout or 15000, 2)
end

local REPORTS = {
  "ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "UndefinedBehaviorSanitizer",
}

local function check_log(self, problems)
  local log = self.stderr .. self.stdout
  for _, report in ipairs(REPORTS) do
    local at = log:find(report, 1, true)
    if at then
      problems[#problems + 1] = "a sanitizer has reported:\n" .. log:sub(math.max(1, at - 200), at + 4000)
      break
    end
  end
  for _, secret in ipairs(self.secrets) do
    local at = log:find(secret, 1, true)
    if at then
      local line = log:sub(1, at):match "[^\n]*$" .. log:sub(at + 1):match "^[^\n]*"
      problems[#problems + 1] = "a secret stands in the log: " .. line
    end
  end
end

-- For after_each: stops what runs, and judges the logs.
function gateway.teardown()
  local problems = {}
  for _, self in ipairs(started) do
    if not self.process.ended then
      local ok, problem = pcall(self.stop, self)
      if not ok then
        problems[#problems + 1] = "SIGTERM does not end the gateway: " .. problem
      end
    end
    check_log(self, problems)
  end
  started = {}
  redis.teardown()
  process.cleanup()
  bot_support.cleanup()
  raw_bot.cleanup()
  if #problems > 0 then
    error(table.concat(problems, "\n"), 0)
  end
end

return gateway
