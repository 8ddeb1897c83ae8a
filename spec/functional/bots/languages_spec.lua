-- The event handlers of examples/bots that users start from, in their languages, behind the real gateway.
--
-- All of them print a line an event, and are held to the same promises. Where their language or framework is
-- not installed, and cannot be, the spec says so. Those that are compiled are seen by scripts/test --long.

local cjson = require "cjson"
local http = require "spec.support.http"
local loop = require "spec.support.loop"
local npm = require "spec.support.npm"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"

local SECRET = "secret-of-the-bot"
local COMMAND = 2
local LONG = os.getenv "TG_SPEC_LONG" == "1"

local function node(file, packages, handle)
  return function(dir)
    local script = paths.root .. "/examples/bots/node/" .. file
    local modules, why = npm.install(packages or {})
    if not modules then
      return nil, why
    elseif packages then -- which node looks for beside and above the script
      process.run { "cp", "-r", paths.root .. "/examples/bots/node/.", dir }
      assert(uv.fs_symlink(modules, dir .. "/node_modules"))
      if handle then
        paths.write(dir .. "/" .. file, (paths.read(script):gsub("handle%.mjs", handle)))
      end
      script = dir .. "/" .. file
    end
    return { "node", script }
  end
end

local function python()
  -- Debian's packages are for Debian's own.
  local argv = { "/usr/bin/python3", paths.root .. "/examples/bots/python/bot.py" }
  if process.run({ argv[1], "-c", "import aiohttp" }).exit_code ~= 0 then
    return nil, "there is no python3-aiohttp here"
  end
  return argv
end

-- Those that are text in the page are compiled with what is installed for their language, once.
local function page(language, files, build)
  local argv, why
  return function()
    if argv or why then
      return argv, why
    end
    local dir, text = paths.tmp(), paths.read(paths.root .. "/examples/bots/README.md")
    local at = assert(text:find("\n## " .. language .. "\n", 1, true))
    assert(uv.fs_mkdir(dir .. "/src", 448))
    for fence, name in pairs(files) do
      paths.write(dir .. "/" .. name, assert(text:match("\n```" .. fence .. "\n(.-\n)```\n", at), fence))
    end
    local run = process.run({ "sh", "-c", build }, {
      cwd = dir, env = { HOME = os.getenv "HOME" }, timeout = 300000,
    })
    if run.exit_code == 0 then
      argv = { dir .. "/handler" }
    elseif run.exit_code == 77 then
      why = "what compiles " .. language .. " is not here"
    else
      error(run.stdout .. run.stderr)
    end
    return argv, why
  end
end

local go = page("Go", { go = "main.go" },
  "command -v go || exit 77; go mod init handler && go vet && go build -o handler")

-- The crates are Debian's: librust-{serde-json,signal-hook,tiny-http,ureq}-dev.
local rust = page("Rust", { toml = "Cargo.toml", rust = "src/main.rs" }, [[
command -v cargo || exit 77
(cd /usr/share/cargo/registry && ls -d serde_json-* signal-hook-0* tiny_http-* ureq-*) || exit 77
mkdir .cargo
cat >.cargo/config.toml <<'END'
source.crates-io.replace-with = "debian"
source.debian.directory = "/usr/share/cargo/registry"
END
RUSTFLAGS="-D warnings" cargo build --offline && mv target/debug/handler handler]])

-- remembers: what it has handled is still known when it starts again. in_inbox: what it was at when it ended
-- it does again.
local BOTS = {
  { name = "in Node without a framework", argv = node "plain.mjs", remembers = true },
  { name = "in Node with express", argv = node("express.mjs", { "express" }) },
  { name = "in Node with @discordjs/core", remembers = true, sends = true,
    argv = node("plain.mjs", { "@discordjs/core", "@discordjs/rest" }, "discordjs.mjs") },
  { name = "in Python with aiohttp", argv = python, remembers = true, in_inbox = true },
}
if LONG then
  BOTS[#BOTS + 1] = { name = "in Go", argv = go }
  BOTS[#BOTS + 1] = { name = "in Rust", argv = rust }
end

local s, bot
local numbered = 0

local Bot = {}
Bot.__index = Bot

local function new_bot(of)
  local dir = paths.tmp()
  local argv, why = of.argv(dir)
  if not argv then
    return nil, why
  end
  return setmetatable({ argv = argv, dir = dir, port = 0, printed = "" }, Bot)
end

-- True: it listens. False: somebody else has its port, a connection of another spec for example.
local function launch(self)
  self.process = process.start(self.argv, { cwd = self.dir, env = {
    PORT = self.port, EVENT_HANDLER_SECRET_KEY = SECRET, REST_URL = s and s.fake.rest or "http://127.0.0.1:1",
    DISCORD_TOKEN = s and s.fake.token, CONTROL_URL = s and s.gateway:control_url(),
  } })
  local ok, port = pcall(self.process.wait_for_output, self.process,
    "Waiting for events on http://127%.0%.0%.1:(%d+)\n", "stdout")
  if ok then
    self.port = port
  elseif not self.process.stderr:lower():find "address.*in use" then
    error(port .. "\n" .. self.process.stderr, 0)
  end
  return ok
end

-- It keeps its port when it starts again, as those do that the gateway's configuration names.
function Bot:start()
  for _ = 1, 100 do
    if launch(self) then
      self.url = "http://127.0.0.1:" .. self.port
      return
    end
  end
  error("the bot's port " .. self.port .. " does not get free")
end

function Bot:stop(signal)
  self.process:kill(signal or "TERM")
  self.process:wait()
  self.printed = self.printed .. self.process.stdout
  return self.process.exit_code
end

-- All lines of its lives: "shard 0 #3 MESSAGE_CREATE 41771983423143937".
function Bot:lines(pattern)
  local lines = {}
  for line in (self.printed .. (self.process.ended and "" or self.process.stdout)):gmatch "[^\n]+" do
    if line:find(pattern) then
      lines[#lines + 1] = line
    end
  end
  return lines
end

-- Waits for n of them, in all its lives.
function Bot:wait_for(n, pattern)
  loop.wait_for(function()
    return ("%d lines with %q, but it has printed:\n%s%s"):format(
      n, pattern, (self.printed .. self.process.stdout):sub(-2000), self.process.stderr:sub(-2000))
  end, function() return #self:lines(pattern) >= n end, 20000, 2)
  return self:lines(pattern)
end

function Bot:post(body, authorization)
  local headers = { Authorization = authorization or SECRET, ["Content-Type"] = "application/json" }
  return http.request("POST", self.url, { headers = headers, body = body }).status
end

-- An event as the gateway sends it: shard 5, epoch 7, unless `more` says otherwise.
local function event(more)
  local d, late = cjson.encode(more.d or { channel_id = "1" }), more.late and ',"late":true' or ""
  return ('{"shardId":%d,"totalShards":16,"epoch":%d,"message":{"t":"%s","s":%d,"op":0,"d":%s}%s}'):format(
    more.shardId or 5, more.epoch or 7, more.t or "TYPING_START", more.s or 1, d, late)
end

local function interaction(given)
  numbered = numbered + 1
  return event { t = "INTERACTION_CREATE", s = numbered, d = {
    id = given.id, token = given.token, application_id = "1", type = COMMAND, data = { name = "tide" },
  } }
end

-- A gateway in front of the bot, which starts again: only now there is a REST that it can ask. The gateway
-- knows that it is up when it has got more than one event.
local function start_gateway(options)
  bot:stop()
  options.bot = false
  options.hurry = 10
  options.env = { EVENT_HANDLER_URL = bot.url, EVENT_HANDLER_SECRET_KEY = SECRET }
  s = scene.start(options)
  bot:start()
  bot:wait_for(#s.fake:guilds(), "^shard 0 #%d+ GUILD_CREATE")
end

-- On a busy machine, too, the bot is the first to answer.
local function patient(fake)
  fake.callback_deadline = 60000
  return { fake = fake, script = 'require "tidegate".configure { interaction = { grace = 2900 } }' }
end

local function commands(promises)
  promises("sends its commands to the control API, and gets what they ask for", function()
    start_gateway { intents = "guilds,guild_members,guild_messages" }
    local guild = s.fake:guilds()[1].id
    s.fake:emit { event = "MESSAGE_CREATE", guild = guild, d = { guild_id = guild, content = "!members" } }
    local command = s.fake:wait_for("the command", function(state) return state.commands[1] end,
      { only = "commands" })
    assert.same({ 0, 8, guild }, { command.shard, command.op, command.d.guild_id })
    bot:wait_for(1, "^shard 0: %d+ members")
  end)
end

for _, of in ipairs(BOTS) do
  describe("the example " .. of.name, function()
    local why

    before_each(function()
      bot, why = new_bot(of)
      if bot then
        bot:start()
      end
    end)

    after_each(function()
      if bot and not bot.process.ended then
        bot:stop "KILL"
      end
      scene.stop()
      s, bot = nil, nil
    end)

    local function promises(what, fn)
      it(what, function()
        if not bot then
          return pending(why)
        end
        fn()
      end)
    end

    promises("gets all events once and in order, lists and large guilds too, over restarts", function()
      start_gateway {
        fake = { guilds = 2, guild_size = 3000000 },
        script = 'require "tidegate".configure { event_handler = { batch = true } }',
      }
      for round = 1, 3 do
        s.fake:emit { count = 20, shard = 0 }
        bot:wait_for(40 * round - 20, "MESSAGE_CREATE %d+$")
        assert.equal(0, bot:stop()) -- with the gateway's connection open
        s.fake:emit { count = 20, shard = 0 }
        s.fake:wait_emitted()
        bot:start()
      end
      for i, line in ipairs(bot:wait_for(120, "MESSAGE_CREATE %d+$")) do
        assert.equal(i + 3, tonumber(line:match "#(%d+)"), line) -- READY and two guilds come before
      end
      assert.equal(2, #bot:lines "GUILD_CREATE %d+$")
      assert.equal(0, s.gateway:control("GET", "/status"):json().queue.dead)
    end)

    promises("answers interactions: first, late, and not knowing that they have an answer", function()
      start_gateway(patient {})
      local function callback(n)
        return s.fake:wait_for(n .. " callbacks", function(state)
          return #state.callbacks == n and state.callbacks[n]
        end, { only = "callbacks" })
      end
      local first = s.fake:emit({ interaction = COMMAND, shard = 0 }).interactions[1]
      bot:wait_for(1, "INTERACTION_CREATE")
      local answer = callback(1)
      assert.same({ first.id, 4, 204 }, { answer.id, answer.callback, answer.status })

      bot:stop()
      s.fake:emit { count = 1, shard = 0 }
      local late = s.fake:emit({ interaction = COMMAND, shard = 0 }).interactions[1]
      assert.equal(5, callback(2).callback)
      bot:start()
      local function edits(n)
        return s.fake:wait_for(n .. " edits", function(state)
          return #state.webhooks == n and state.webhooks
        end, { only = "webhooks", timeout = 20000 })
      end
      local edit = edits(1)[1]
      local path = edit.path:gsub("%%40", "@") -- the same
      assert.truthy(path:find("/" .. late.token .. "/messages/@original", 1, true), path)
      assert.same({ "PATCH", 200 }, { edit.method, edit.status })
      assert.matches("^You have used ", edit.body.content)
      assert.equal(2, #s:list "callbacks") -- no second answer was tried

      -- the gateway had deferred it when its event was on its way already
      local unaware = interaction(late)
      assert.equal(204, bot:post(unaware))
      assert.equal(40060, callback(3).code)
      assert.equal(200, edits(2)[2].status)
      assert.equal(204, bot:post(interaction { id = "1", token = "gone" })) -- nobody can answer that
      assert.same({}, s:list "violations")
    end)

    promises("drops what it has had, refuses strangers, nonsense, and what is too large", function()
      assert.equal(401, bot:post(event {}, "another secret"))
      assert.equal(401, bot:post(event {}, ""))
      assert.equal(400, bot:post "nonsense")
      local body = event { s = 2 }
      assert.equal(204, bot:post(body))
      assert.equal(204, bot:post(body))
      assert.equal(204, bot:post("[" .. body .. "," .. event { s = 3 } .. "]"))
      local gap = '{"shardId":5,"totalShards":16,"epoch":7,"gap":{"count":4,"reason":"overflow"}}'
      assert.equal(204, bot:post(gap))
      assert.equal(204, bot:post('{"shardId":5,"totalShards":16,"epoch":7,"resharding":'
        .. '{"from":[5,16],"to":[21,32],"guilds":["41771983423143937"]}}'))
      assert.equal(204, bot:post(event { epoch = 6, s = 9 }))
      assert.equal(204, bot:post(event { epoch = 6, s = 8, late = true })) -- behind others, but new
      assert.equal(204, bot:post(event { s = 3 }))
      assert.equal(204, bot:post(event { shardId = 6, s = 1 }))
      assert.equal(204, bot:post(event { epoch = 8, s = 1, d = { name = ("x"):rep(16 * 1024 * 1024) } }))
      assert.equal(413, bot:post(event { s = 9, d = { name = ("x"):rep(33 * 1024 * 1024) } }))
      bot:wait_for(1, "shard 5 #1 ")
      local expected = {
        "shard 5 #2", "shard 5 #3", "shard 5 has lost 4", "shard 5 #8", "shard 6 #1", "shard 5 #1",
      }
      local function assert_handled()
        for i, line in ipairs(bot:wait_for(#expected, "^shard ")) do
          assert.equal(expected[i], line:sub(1, #(expected[i] or "")))
        end
      end
      assert_handled()

      bot:stop "KILL"
      bot:start()
      assert.equal(204, bot:post(event { epoch = 8, s = 1 }))
      assert.equal(204, bot:post(event { epoch = 8, s = 2 }))
      if not of.remembers then
        expected[#expected + 1] = "shard 5 #1"
      end
      expected[#expected + 1] = "shard 5 #2"
      assert_handled()
    end)

    promises("does what it was at before it ends", function()
      start_gateway(patient { callback_delay = 300 })
      s.fake:emit { interaction = COMMAND, shard = 0 }
      s.fake:wait_for("its answer", function(state) return #state.callbacks == 1 end, { only = "callbacks" })
      assert.equal(0, bot:stop())
      bot:start()
      s.fake:emit { count = 1, shard = 0 }
      bot:wait_for(1, "MESSAGE_CREATE")
      assert.equal(204, s:list("callbacks")[1].status)
      assert.equal(of.in_inbox and 2 or 1, #bot:lines "INTERACTION_CREATE")
    end)

    if of.sends then
      commands(promises)
    end
  end)
end
