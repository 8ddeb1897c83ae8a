-- Every script in examples/scripts loads in both roles, passes its own spec, and does with the fake what it
-- says.

local http = require "spec.support.http"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local uv = require "luv"

local function scripts()
  local names = {}
  local scan = assert(uv.fs_scandir(paths.root .. "/examples/scripts"))
  while true do
    local name = uv.fs_scandir_next(scan)
    if not name then
      return names
    end
    if name:find "%.lua$" then
      names[#names + 1] = name
    end
  end
end

describe("each example", function()
  after_each(process.cleanup)

  for _, name in ipairs(scripts()) do
    it("loads: " .. name, function()
      local check = process.run({ paths.bin "tidegate", "check", "examples/scripts/" .. name }, {
        env = { DISCORD_TOKEN = "token-for-checking", TIDEGATE_STATE_DIR = paths.tmp() },
      })
      assert.equal(0, check.exit_code, check.stdout .. check.stderr)
      assert.is_nil((check.stdout .. check.stderr):find("token-for-checking", 1, true))
    end)

    it("passes its own spec: " .. name, function()
      local spec = "examples/scripts/spec/" .. name:gsub("%.lua$", "_spec.lua")
      local run = process.run({ paths.bin "tidegate", "test", "-o", "TAP", spec }, { timeout = 60000 })
      assert.equal(0, run.exit_code, run.stdout .. run.stderr)
      assert.matches("\nok 2 ", "\n" .. run.stdout, 1, true)
    end)
  end
end)

describe("on the wire", function()
  local servers = {}

  after_each(function()
    scene.stop()
    for _, server in ipairs(servers) do
      server:close()
    end
    servers = {}
  end)

  local function serve(handler)
    local server = http.serve(handler)
    servers[#servers + 1] = server
    return server
  end

  local function start(name, options)
    options = options or {}
    options.script = paths.root .. "/examples/scripts/" .. name
    return scene.start(options)
  end

  it("first.lua delivers, and logs why a connection was closed", function()
    local s = start "first.lua"
    s.fake:emit { count = 3, shard = 0 }
    s.fake:fault { ["do"] = "close", code = 4000, shard = 0 }
    s.gateway:wait_for_log "closed with code 4000"
    s.bot:wait_for_events(3, "MESSAGE_CREATE")
  end)

  it("queue_policy.lua takes 409 as accepted, and is soon back at a bot that was down", function()
    local alerts = {}
    local chat = serve(function(request)
      alerts[#alerts + 1] = request.body
      return 204
    end)
    local s = start("queue_policy.lua", { reload = false, env = { ALERT_URL = chat.url .. "/hook" } })
    s.bot:wait_for_events(#s.fake:guilds(), "GUILD_CREATE")
    local refused = 0
    s.bot:answer(function()
      refused = refused + 1
      return 409
    end)
    s.fake:emit { count = 3, shard = 0 }
    loop.wait_for("three events that the bot has already", function() return refused >= 3 end)
    s.bot:down()
    s.fake:emit { count = 1, shard = 0 }
    loop.wait_for("the alert", function() return alerts[1] end)
    assert.matches("does not take events", alerts[1], 1, true)
    s.bot:answer(nil)
    s.bot:up()
    s.bot:wait_for_events(1, "MESSAGE_CREATE")
    loop.wait_for("the all-clear", function() return alerts[2] end)
    assert.matches("takes events again", alerts[2], 1, true)
    assert.equal(3, refused)
  end)

  it("statistics.lua counts each message once, while the bot gets them all", function()
    local counted, down = {}, true
    local counter = serve(function(request)
      if down then return 503 end
      for guild, n in request.body:gmatch '"(%d+)":(%d+)' do
        counted[guild] = (counted[guild] or 0) + n
      end
      return 204
    end)
    local s = start("statistics.lua", { shards = 2, env = { COUNTER_URL = counter.url .. "/messages" } })
    s.fake:emit { count = 60 }
    local sent = s:wait_delivered()
    down = false
    loop.wait_for("all at the counter", function()
      for guild, last in pairs(sent) do
        if (counted[guild] or 0) < last then return false end
      end
      return true
    end, 20000)
    assert.same(sent, counted)
  end)

  it("identify_when_ready.lua lets no shard identify before the bot is ready", function()
    local asked = 0
    local bot = serve(function()
      asked = asked + 1
      return asked > 1 and 200 or 503
    end)
    local s = start("identify_when_ready.lua", { env = { READY_URL = bot.url .. "/ready" }, ready = false })
    s.gateway:wait_for_log "waits until the bot is ready: it answered 503"
    assert.equal(0, s:counters().identifies)
    s.gateway:wait_ready(1)
    assert.equal(1, s:counters().identifies)
    assert.equal(2, asked)
  end)

  it("presence_per_shard.lua identifies with a presence, and counts servers later", function()
    local s = start("presence_per_shard.lua", { shards = 2, bot = false })
    for _, identify in ipairs(s:list "identifies") do
      assert.equal(("shard %d of 2"):format(identify.shard + 1), identify.presence.activities[1].name)
    end
    local commands = s.fake:wait_for("both presences", function(state)
      return #state.commands >= 2 and state.commands
    end, { only = "commands" })
    for _, command in ipairs(commands) do
      assert.equal(3, command.op)
      assert.matches("%d+ servers, shard " .. command.shard + 1 .. " of 2", command.d.activities[1].name)
    end
  end)

  it("events_to_socket.lua writes all events of all workers, in order", function()
    local path = paths.tmp() .. "/events.sock"
    local lines, server = {}, uv.new_pipe(false)
    assert(server:bind(path))
    server:listen(8, loop.callback(function()
      local peer, rest = uv.new_pipe(false), ""
      server:accept(peer)
      peer:read_start(loop.callback(function(_, chunk)
        if not chunk then
          peer:close()
          return
        end
        rest = (rest .. chunk):gsub("([^\n]*)\n", function(line)
          lines[#lines + 1] = line
          return ""
        end)
      end))
    end))
    servers[#servers + 1] = server
    local s = start("events_to_socket.lua", {
      shards = 2, per_worker = 1, workers = 2, env = { EVENT_SOCKET = path },
    })
    s.fake:emit { count = 200 }
    local sent = s.fake:wait_emitted()
    local function numbers()
      local last = {}
      for _, line in ipairs(lines) do
        local guild, n = line:match '"nonce":"(%d+):(%d+)"'
        if guild then
          assert.equal((last[guild] or 0) + 1, tonumber(n))
          last[guild] = tonumber(n)
        end
      end
      return last
    end
    loop.wait_for("all events at the socket", function()
      local last = numbers()
      for guild, n in pairs(sent) do
        if last[guild] ~= n then
          return false
        end
      end
      return true
    end)
    assert.equal(0, #s.bot.events)
  end)

  it("interaction_fallback.lua answers while the bot is down, and leaves it to the bot otherwise", function()
    local s = start("interaction_fallback.lua", { reload = false, hurry = 20 })
    s.bot:down()
    s.fake:emit { event = "TYPING_START", d = {}, shard = 0 }
    s.gateway:wait_for_log "is down"
    for kind = 2, 5 do
      s.fake:emit { interaction = kind }
    end
    s.fake:wait_for("four answers", function(state)
      return #state.callbacks == 4
    end)
    local verdicts = {}
    for _, callback in ipairs(s:list "callbacks") do
      verdicts[callback.type] = { callback.callback, callback.status }
    end
    assert.same({ [2] = { 4, 204 }, [3] = { 4, 204 }, [4] = { 8, 204 }, [5] = { 4, 204 } }, verdicts)

    s.bot:up()
    s.gateway:wait_for_log "is up again"
    s.fake:emit { interaction = 2 }
    s.bot:wait_for_events(1, "INTERACTION_CREATE")
    assert.equal(4, #s:list "callbacks")
  end)
end)
