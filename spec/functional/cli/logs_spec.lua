-- What an operator finds in the log: fields of the same names everywhere, no flood, and never a secret.

local cjson = require "cjson"
local pages = require "spec.support.pages"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

-- name -> whether it is text, from the list that the program is made of.
local function known_fields()
  local list = {}
  local header = paths.read(paths.root .. "/src/base/log_field.h")
  for name, is_text in header:gmatch '\n  X%(%u+, "(%l+)", (%l+)%)' do
    list[name] = is_text == "true"
  end
  return list
end

local OWN = { time = true, level = true, role = true, shard = true, message = true }

describe("the log", function()
  after_each(scene.stop)

  -- A night with everything in it: closes, a bot that is down and one that refuses, an override that fails, a
  -- reload that works and one that does not, a worker that dies.
  local SCRIPT = [[
local gateway = require "tidegate"
gateway.configure { interaction = { grace = 100 }, script = { secrets = true } }
gateway.on("TYPING_START", function(event)
  if event.data.user_id == "13" then error("unlucky " .. os.getenv "DISCORD_TOKEN") end
end)
gateway.on("INTERACTION_CREATE", function(event)
  local _, err = gateway.rest.post("/interactions/1/" .. event.data.token .. "/nowhere", { json = {} })
  gateway.log.info("rest: %s", tostring(err))
  _, err = gateway.rest.get("/nowhere", { headers = { ["X-Secret"] = os.getenv "REST_AUTHORIZATION" } })
  gateway.log.info("rest: %s", tostring(err))
  _, err = gateway.http.get("http://user:" .. os.getenv "EVENT_HANDLER_SECRET_KEY" .. "@127.0.0.1:1/?a=b")
  gateway.log.info("http: %s", tostring(err))
end)
]]

  local function spend_the_night(s)
    local g = s.gateway
    s.bot:wait_for_events(2 + #s.fake:guilds())
    s.fake:fault { ["do"] = "close", code = 4000, reason = "A reason.", shard = 0 }
    s.fake:fault { ["do"] = "rst", shard = 1 }
    s:wait_counter("resumes_ok", 2)
    s.fake:fault { ["do"] = "close", code = 4009, shard = 1 }
    s:wait_counter("identifies_ok", 3)
    s:type("13")
    g:wait_for_log "unlucky"
    s.bot:answer(function() return 401 end)
    s.fake:emit { count = 1, shard = 0 }
    g:wait_for_log "the event handler is down"
    local tokens = {}
    for kind = 2, 3 do
      tokens[#tokens + 1] = s.fake:emit({ interaction = kind, shard = 0 }).interactions[1].token
    end
    g:wait_for_log "http: "
    s.bot:answer(nil)
    g:wait_for_log "the event handler is up again"
    g:reload()
    paths.write(g.script, SCRIPT .. "error('broken by ' .. os.getenv 'TIDEGATE_CONTROL_SECRET')")
    g:reload()
    for _, secret in ipairs { "not-the-secret", false } do
      local answer = g:control("GET", "/status?authorization=" .. g.control_secret, { secret = secret })
      assert.equal(401, answer.status)
    end
    local sessions = {}
    for _, shard in ipairs(g:control("GET", "/shards"):json()) do
      sessions[#sessions + 1] = shard.sessionId
    end
    assert(#sessions == 2 and #tokens == 2)
    require "luv".kill(g:worker_pids()[1], "sigkill")
    g:wait_for_log "a worker is started again"
    s:wait_counter("resumes_ok", 3, 20000)
    g:stop()
    return tokens, sessions
  end

  local function start(env)
    env.TIDEGATE_CONTROL_SECRET = "open-sesame-control"
    env.REST_AUTHORIZATION = "Bot fake.discord.token"
    return scene.start {
      shards = 2, workers = 1, fake = { max_concurrency = 2 }, script = SCRIPT, env = env, reload = false,
      hurry = 10, bot = { authorization = "open-sesame-bot" },
    }
  end

  local function assert_silent(s, tokens, sessions)
    local log = s.gateway.stderr .. s.gateway.stdout
    for _, list in ipairs { tokens, sessions, { "fake.discord.token", "open-sesame", s.fake.token } } do
      for _, secret in ipairs(list) do
        local at = log:find(secret, 1, true)
        assert.is_nil(at, at and log:sub(at - 300, at + 100))
      end
    end
    assert.matches("***", log, 1, true) -- it was in the words of scripts
  end

  it("of a whole night at debug level has no secret, as text", function()
    local s = start { LOG_LEVEL = "debug" }
    local tokens, sessions = spend_the_night(s)
    assert_silent(s, tokens, sessions)
    local log = s.gateway.stderr
    for _, line in ipairs {
      "info  worker 0 shard 0: disconnected: [^\n]* code=4000 reason=\"A reason.\" next=resume delay=%d+\n",
      "info  worker 0 shard 0: resumed epoch=%d+ sequence=%d+\n",
      "info  worker 0 shard 1: ready: a new session epoch=%d+\n",
      "error worker 0 shard 0: TYPING_START %([^\n]*script.lua:%d+%) failed; it has ended\n",
      "error worker 0: the event handler is down: [^\n]* url=http://127.0.0.1:%d+ reason=\"[^\n]*401",
      "info  worker 0: the event handler is up again url=http://127.0.0.1:%d+ duration=%d+ events=%d+\n",
      "info  manager: reloaded generation=2 duration=%d+\n",
      "error manager: the reload failed, nothing has changed:\n  [^\n]*broken by",
      "error manager: a worker has ended; [^\n]* worker=0 reason=\"signal 9, Killed\" [^\n]* shards=2\n",
      "info  manager: a worker is started again worker=0 attempt=1 delay=%d+\n",
    } do
      assert.matches(line, log)
    end
  end)

  it("of a whole night has no secret, and fields that a program can use, as JSON", function()
    local s = start { LOG_LEVEL = "debug", LOG_FORMAT = "json" }
    local tokens, sessions = spend_the_night(s)
    assert_silent(s, tokens, sessions)
    local fields, seen = known_fields(), {}
    for _, text in ipairs(s.gateway.process:lines "stderr") do
      local line = cjson.decode(text)
      for _, name in ipairs { "time", "level", "role", "message" } do
        assert.is_string(line[name])
      end
      assert.equal(line.role == "worker" and 0 or nil, line.role == "worker" and line.worker or nil)
      for name, value in pairs(line) do
        if not OWN[name] then
          assert.is_boolean(fields[name], name)
          assert.equal(fields[name] and "string" or "number", type(value), text)
          seen[name] = true
        end
      end
    end
    for _, name in ipairs { "worker", "code", "reason", "attempt", "delay", "next", "url", "epoch" } do
      assert.is_true(seen[name], name)
    end
  end)

  it("has the fields that the manual lists, and no other", function()
    local section = pages.all():match "\n| field | |\n|.-\n(.-)\n\n"
    local listed = {}
    for names in section:gmatch "| (`[^|]*`) |" do
      for name in names:gmatch "`(%l+)`" do listed[name] = true end
    end
    for name in pairs(known_fields()) do
      assert.is_true(listed[name], name)
      listed[name] = nil
    end
    assert.same({}, listed)
  end)

  it("has the fields of scripts, as JSON and as text, and no secret in them", function()
    local script = [[
local gateway = require "tidegate"
gateway.configure { script = { secrets = true } }
gateway.on("TYPING_START", function(event)
  local token = os.getenv "DISCORD_TOKEN"
  gateway.log.info("user %s", event.data.user_id, {
    shard = 1, guild = "7", rtt = 1.5, count = 3, late = true, words = "two words \255", token = token,
    code = 4000, empty = "", none = gateway.json.null,
  })
  gateway.log.info("a field alone", { token = ("x"):rep(4090) .. token, z = token })
end)
]]
    local s = scene.start { bot = false, script = script, env = { LOG_FORMAT = "json" }, reload = false }
    s:type "5"
    s.gateway:wait_for_log "a field alone[^\n]*\n"
    local line = cjson.decode(s.gateway.stderr:match '({[^\n]*"message":"user 5"[^\n]*})\n')
    line.time = nil
    assert.same({
      level = "info", role = "worker", worker = 0, shard = 1, message = "user 5", guild = "7", rtt = 1.5,
      count = 3, late = true, words = "two words \239\191\189", token = "***", code = 4000, empty = "",
    }, line)
    s.gateway:stop()
    s:again { env = { LOG_FORMAT = false } }
    s:type "6"
    s.gateway:wait_for_log(table.concat {
      'worker 0 shard 1: user 6 code=4000 count=3 empty="" guild=7 late=true rtt=1.5 ',
      'token=%*%*%* words="two words [^"]+"\n',
    })
  end)

  it("follows the level and the form that a reload sets", function()
    local function script(level, format)
      return ([[
local gateway = require "tidegate"
gateway.configure { log = { level = "%s", format = "%s" } }
gateway.on("TYPING_START", function(event)
  gateway.log.debug("debug %%s", event.data.user_id)
  gateway.log.warn("warn %%s", event.data.user_id)
  gateway.log.error("error %%s", event.data.user_id)
end)
]]):format(level, format)
    end
    local s = scene.start {
      bot = false, script = script("info", "text"), env = { LOG_LEVEL = false }, reload = false,
    }
    s:type "1"
    s.gateway:wait_for_log "worker 0 shard 0: warn 1\n"
    paths.write(s.gateway.script, script("debug", "json"))
    s.gateway:reload()
    s:type "2"
    s.gateway:wait_for_log '"worker":0,"shard":0,"message":"debug 2"}\n'
    paths.write(s.gateway.script, script("error", "text"))
    assert.equal(3, s.gateway:control("POST", "/reload"):json().generation)
    s:type "3"
    s.gateway:wait_for_log "worker 0 shard 0: error 3\n"
    assert.equal(0, s.gateway:count_log "warn 3")
    assert.equal(0, s.gateway:count_log "debug 1")
  end)

  it("holds back what many shards in several workers say at once, and counts it", function()
    local SHARDS = 120
    local s = scene.start {
      bot = false, shards = SHARDS, workers = 4, per_worker = 30, log_level = "info", hurry = 20,
      fake = { max_concurrency = 64, identify_window = 0 }, spawn_shard_delay = 0,
    }
    s.fake:fault { ["do"] = "close", code = 4000 }
    s:wait_counter("resumes_ok", SHARDS, 30000)
    s.gateway:stop()
    local shown, held = 0, 0
    for line in s.gateway.stderr:gmatch "[^\n]+" do
      if line:find "shard %d+: disconnected: [^\n]*code=4000" then
        shown = shown + 1
      end
      held = held + (tonumber(line:match "more like this were not shown: disconnected: .* held=(%d+)$") or 0)
    end
    assert.equal(SHARDS, shown + held)
    assert.is_true(shown <= 100, shown)
  end)
end)
