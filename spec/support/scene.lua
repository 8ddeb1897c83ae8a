-- Fake Discord, bot and gateway together, for specs of the whole.
--
--   local scene = require "spec.support.scene"
--   after_each(scene.stop)
--
--   local s = scene.start { shards = 4, per_worker = 2, fake = { tls = true }, script = [[ ... ]] }
--   s.fake, s.bot, s.gateway
--
-- stop() ends gateways before the fake they talk to, and fails when one does not end, when a sanitizer has
-- reported something, when a secret is in a log or when the bot got a body of a shape that is not promised.

local bot_support = require "spec.support.bot"
local fake_discord = require "spec.support.fake_discord"
local gateway = require "spec.support.gateway"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"

local scene = {}

local Scene = {}
Scene.__index = Scene

local started = {}

-- For gateways that are to crash: a sanitizer would report it and exit in the place of the signal.
scene.crashes = { ASAN_OPTIONS = (os.getenv "ASAN_OPTIONS" or "") .. ":handle_segv=0" }

-- options: shards (of fake and gateway, default 1), per_worker, fake (more of its settings), bot (options
-- of the bot, a list of bots, or false for none), sinks (options of one more bot each, by name, which is in
-- s.sinks), ready (false: do not wait until all shards are up; default true), gateway (false: none yet, see
-- Scene:run()), hurry (TIDEGATE_HURRY), and everything that gateway.start() takes. `script` may be a function
-- that makes it of the scene, whose bots have URLs then.
function scene.start(options)
  local self = setmetatable({ gateways = {}, sinks = {}, options = options }, Scene)
  started[#started + 1] = self
  local fake_options = { shards = options.shards or 1 }
  for name, value in pairs(options.fake or {}) do
    fake_options[name] = value
  end
  self.fake = fake_discord.start(fake_options)
  if options.bot ~= false then
    self.bots = options.bot and options.bot[1] and options.bot or { bot_support.start(options.bot or nil) }
    self.bot = self.bots[1]
  end
  for name, bot_options in pairs(options.sinks or {}) do
    self.sinks[name] = bot_support.start(bot_options)
  end
  if options.gateway ~= false then
    self:run(options)
  end
  return self
end

-- Another gateway in the same scene, with the same options but for those given; on the same state directory
-- unless state_dir says otherwise.
function Scene:again(changes)
  local options = {}
  for name, value in pairs(self.options) do
    options[name] = value
  end
  options.state_dir = self.gateway.state_dir
  options.script = self.gateway.script
  for name, value in pairs(changes or {}) do
    options[name] = value
  end
  return self:run(options)
end

local OWN = {
  fake = true, bot = true, sinks = true, shards = true, per_worker = true, ready = true, hurry = true,
  gateway = true,
}

-- A gateway in the scene; takes what scene.start() takes.
function Scene:run(options)
  local passed = { env = { TIDEGATE_HURRY = options.hurry } }
  for name, value in pairs(options) do
    if name == "env" then
      for variable, text in pairs(value) do
        passed.env[variable] = text
      end
    elseif not OWN[name] then
      passed[name] = value
    end
  end
  passed.fake, passed.bot = self.fake, self.bots
  passed.shards_per_worker = options.per_worker
  if type(passed.script) == "function" then
    passed.script = passed.script(self)
  end
  self.gateway = gateway.start(passed)
  self.gateways[#self.gateways + 1] = self.gateway
  if options.ready ~= false then
    self.gateway:wait_ready(options.shards or 1)
  end
  return self.gateway
end

-- What the fake has counted: identifies, identifies_ok, resumes, resumes_ok, violations, ...
function Scene:counters()
  return self.fake:state("counters").counters
end

-- Waits until one of these counters is at least n.
function Scene:wait_counter(name, n, timeout)
  return self.fake:wait_for(n .. " " .. name, function(state)
    return state.counters[name] >= n
  end, { only = "counters", timeout = timeout })
end

-- One TYPING_START, to tell one moment from another: of a user, in a shard (default 0).
function Scene:type(user, shard)
  self.fake:emit {
    event = "TYPING_START", shard = shard or 0,
    d = { user_id = user or "1", channel_id = "1", timestamp = 1 },
  }
end

-- One of the fake's lists: "identifies", "resumes", "closes", "violations", ...
function Scene:list(name)
  return self.fake:state(name)[name]
end

-- Waits until all that was to be emitted is at the bot (or at another one, or in the streams of a reader);
-- returns what the checker wants to know.
function Scene:wait_delivered(timeout, bot)
  bot = bot or self.bot
  loop.step()
  local sent = self.fake:wait_emitted(timeout)
  local missing, seen = {}, 0
  for guild, last in pairs(sent) do
    missing[guild] = { last = last, got = {}, left = last }
  end
  local function look()
    for i = seen + 1, #bot.events do
      local event = bot.events[i]
      local guild, n = event.body:match '"nonce":"(%d+):(%d+)"'
      local of = guild and missing[guild]
      n = tonumber(n)
      if of and not of.got[n] then
        of.got[n] = true
        of.left = of.left - 1
      end
    end
    seen = #bot.events
  end
  local function describe()
    local lines = {}
    for guild, of in pairs(missing) do
      if of.left > 0 then
        lines[#lines + 1] = ("%d of %d of guild %s"):format(of.left, of.last, guild)
      end
    end
    return ("all events at the bot; missing are %s. The log ends:\n%s"):format(
      table.concat(lines, ", "), self.gateway.stderr:sub(-2000))
  end
  local function is_complete()
    look()
    for _, of in pairs(missing) do
      if of.left > 0 then
        return false
      end
    end
    return true
  end
  if bot.poll then
    bot:wait_for(describe, is_complete, timeout)
  else
    loop.wait_for(describe, is_complete, timeout, 2)
  end
  return sent
end

-- Waits until the newest message of each guild is at the bot (or another one) that need not have got all.
function Scene:await_newest(bot, timeout)
  bot = bot or self.bot
  local left = self.fake:wait_emitted()
  local seen = 0
  loop.wait_for(function()
    return "the newest messages at the bot; the log ends:\n" .. self.gateway.stderr:sub(-2000)
  end, function()
    for i = seen + 1, #bot.events do
      local guild, n = (bot.events[i].body or ""):match '"nonce":"(%d+):(%d+)"'
      if guild and left[guild] == tonumber(n) then
        left[guild] = nil
      end
    end
    seen = #bot.events
    return next(left) == nil
  end, timeout or 30000, 2)
end

function scene.stop()
  local problems = {}
  local function try(fn, ...)
    local ok, problem = pcall(fn, ...)
    if not ok then
      problems[#problems + 1] = tostring(problem)
    end
  end
  local function release(bot)
    bot:answer(nil)
    if bot.malformed[1] then
      problems[#problems + 1] = "the bot got a malformed body: " .. bot.malformed[1]:sub(1, 500)
    end
  end
  for _, self in ipairs(started) do
    for _, bot in ipairs(self.bots or {}) do
      release(bot)
    end
    for _, bot in pairs(self.sinks) do
      release(bot)
    end
    for _, each in ipairs(self.gateways) do
      if not each.process.ended then
        try(each.stop, each)
      end
    end
    try(self.fake.stop, self.fake)
  end
  if #problems > 0 and os.getenv "TG_SPEC_LOG" then
    for i, self in ipairs(started) do
      for k, each in ipairs(self.gateways) do
        paths.write(("%s.%d.%d"):format(os.getenv "TG_SPEC_LOG", i, k), each.stderr)
      end
    end
  end
  started = {}
  try(gateway.teardown)
  if #problems > 0 then
    error(table.concat(problems, "\n"), 0)
  end
end

return scene
