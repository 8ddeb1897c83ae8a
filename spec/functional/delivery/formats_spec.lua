-- event_handler.format: what bots of others read, made of the same events, and of what waits since before the
-- format changed.

local cjson = require "cjson"
local interaction_world = require "spec.support.interaction_world"
local loop = require "spec.support.loop"
local npm = require "spec.support.npm"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local webhook = require "spec.support.webhook"

local hook

-- handler: more of event_handler; script: more Lua behind gateway.configure.
local function script_of(handler, script, more)
  return ('local gateway = require "tidegate"\ngateway.configure { event_handler = { %s }, %s }\n%s'):format(
    handler, more or "", script or "")
end

local function start(handler, options)
  options = options or {}
  hook = webhook.start()
  options.bot = false
  options.script = script_of(handler, options.script, options.more)
  options.env = options.env or {}
  options.env.EVENT_HANDLER_URL = hook.url
  return scene.start(options)
end

local function restart(s, handler)
  s.gateway:stop()
  return s:again { script = script_of(handler), ready = false }
end

local function message(s, content)
  s.fake:emit { event = "MESSAGE_CREATE", guild = s.fake:guilds()[1].id, d = {
    id = "9", channel_id = "8", content = content, author = { id = "7", username = "a" },
    timestamp = "2026-01-01T00:00:00+00:00",
  } }
end

local function finish()
  scene.stop()
  hook:close()
end

-- The next message of a shard, as no library would write it.
local function odd_message(s, content)
  local last = 0
  for _, request in ipairs(hook.requests) do
    last = math.max(last, tonumber(request.key:match "%.(%d+)$") or 0)
  end
  local d = ('{ "content":"%s" ,"n" : 1.50e+2,"esc":"\\u00e9\\/"}'):format(content)
  local text = (' {"op":0, "d":%s,"s":%d ,"t":"MESSAGE_CREATE"}'):format(d, last + 1)
  s.fake:emit { text = text, shard = 0 }
  return text, d
end

describe("event_handler.format", function()
  after_each(finish)

  it("discordeno has payload in the place of message, as it came", function()
    local s = start 'format = "discordeno"'
    hook:wait_for(2, '"payload"') -- READY, and the guilds
    hook:wait_for(1 + #s.fake:guilds())
    local text = odd_message(s, "odd")
    local request = hook:wait_for(1, "odd")[1]
    local shard, epoch, payload =
      request.body:match '^{"shardId":(%d+),"totalShards":1,"epoch":(%d+),"payload":(.*)}$'
    assert.equal("0", shard)
    assert.equal(request.key:match "^0%.(%d+)%.", epoch)
    assert.equal(text, payload)
    assert.equal("application/json", request.headers["content-type"])
    local guild = hook:select '"t":"GUILD_CREATE"'[1]:json()
    assert.equal("loading", guild.guildCreate)
    assert.same({}, hook:select '"message":{"')
  end)

  it("discordeno calls guilds that load GUILD_LOADED_DD if asked, and no others", function()
    local s = start 'format = "discordeno", guild_loaded = true'
    local loaded = hook:wait_for(#s.fake:guilds(), '"t":"GUILD_LOADED_DD"')
    assert.equal("loading", loaded[1]:json().guildCreate)
    assert.equal("GUILD_LOADED_DD", loaded[1]:json().payload.t)
    s.fake:emit { kind = "joined", shard = 0 }
    local joined = hook:wait_for(1, '"t":"GUILD_CREATE"')
    assert.equal("joined", joined[1]:json().guildCreate)
    assert.equal(#s.fake:guilds() - 1, #hook:select '"t":"GUILD_LOADED_DD"')
  end)

  it("chat-sdk has the type, the time and d, and the token as the adapter wants it", function()
    local s = start 'format = "chat-sdk"'
    hook:wait_for(1 + #s.fake:guilds())
    local before = os.time() * 1000 - 1000
    local _, d = odd_message(s, "odd")
    local request = hook:wait_for(1, "odd")[1]
    local type, timestamp, data = request.body:match '^{"type":"([%u_]+)","timestamp":(%d+),"data":(.*)}$'
    assert.equal("GATEWAY_MESSAGE_CREATE", type)
    assert.equal(d, data)
    assert.is_true(tonumber(timestamp) >= before and tonumber(timestamp) <= (os.time() + 2) * 1000)
    assert.equal(s.fake.token, request.headers["x-discord-gateway-token"])
    assert.equal("loading", hook:select "GATEWAY_GUILD_CREATE"[1]:json().guildCreate)
  end)

  it("no other format sends the token", function()
    start 'format = "cloudevents"'
    assert.is_nil(hook:wait_for(1)[1].headers["x-discord-gateway-token"])
  end)

  it("cloudevents is structured mode, its identity the event's", function()
    local s = start('format = "cloudevents"', { fake = { token = "MTIzNDU.a-b-c.d-e-f" } })
    hook:wait_for(1 + #s.fake:guilds())
    local _, d = odd_message(s, "odd")
    local request = hook:wait_for(1, "odd")[1]
    local event = request:json()
    assert.equal("application/cloudevents+json", request.headers["content-type"])
    assert.equal(d, request.body:match '"data":(.*)}$')
    assert.equal("1.0", event.specversion)
    assert.equal(request.key, event.id)
    assert.equal("/tidegate/bots/12345/shards/0", event.source)
    assert.equal("com.discord.MESSAGE_CREATE", event.type)
    assert.equal(tonumber(request.key:match "%d+$"), tonumber(event.sequence))
    assert.truthy(event.time:match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$")
    assert.equal("loading", hook:select "com.discord.GUILD_CREATE"[1]:json().guildcreate)
    for name in pairs(event) do
      assert.truthy(name:match "^[%l%d]+$", name)
    end
  end)

  local KINDS = { discordeno = '"payload":{"t":"MESSAGE_CREATE"', cloudevents = "com.discord.MESSAGE" }
  for format, kind in pairs(KINDS) do
    it(format .. " comes as lists with event_handler.batch", function()
      local s = start(('format = "%s", batch = true'):format(format))
      hook:wait_for(1)
      hook:down()
      s.fake:emit { count = 30, shard = 0 }
      s.fake:wait_emitted()
      hook:up()
      local function is_message(event)
        return (event.type or event.payload and event.payload.t or ""):find "MESSAGE_CREATE$" ~= nil
      end
      local count, last
      loop.wait_for("30 messages in lists", function()
        count, last = 0, 0
        for _, request in ipairs(hook:select(kind)) do
          for _, event in ipairs(request:json()) do
            local s_of = tonumber(event.sequence or event.payload.s)
            if is_message(event) then
              assert.is_true(s_of > last)
              count, last = count + 1, s_of
            end
          end
        end
        return count >= 30
      end, 30000)
      assert.equal(30, count)
      assert.is_true(#hook:select(kind) < 30)
      local types = { discordeno = "application/json", cloudevents = "application/cloudevents-batch+json" }
      assert.equal(types[format], hook.requests[#hook.requests].headers["content-type"])
    end)
  end

  -- What waits is delivered in the format of then.
  local CHANGES = {
    { "", 'format = "discordeno"', '"payload":{"t":"MESSAGE_CREATE"' },
    { 'format = "cloudevents"', "", '"message":{"t":"MESSAGE_CREATE"' },
    { 'format = "discordeno", batch = true', 'format = "chat-sdk"', '"GATEWAY_MESSAGE_CREATE"' },
  }
  for _, change in ipairs(CHANGES) do
    local name = ("from %q to %q"):format(change[1], change[2])
    it("changes over a restart " .. name, function()
      local s = start(change[1])
      hook:wait_for(1)
      hook:down()
      message(s, "waits")
      s.fake:emit { count = 3, shard = 0 }
      s.fake:wait_emitted()
      restart(s, change[2])
      hook:forget()
      hook:up()
      hook:wait_for(1, '"waits"', 30000)
      hook:wait_for(3, '"nonce"', 30000)
      for _, request in ipairs(hook:select '"nonce"') do
        assert.truthy(request.body:find(change[3], 1, true), request.body)
      end
    end)
  end

  -- handler before, handler behind; of a body, or of a list of them: its events' content.
  local RELOADS = {
    { "", 'format = "cloudevents"', function(body) return { body.data.content } end },
    { "", 'format = "discordeno", batch = true', function(list)
      local contents = {}
      for _, body in ipairs(list) do
        contents[#contents + 1] = body.payload.d.content -- none of a guild
      end
      return contents
    end },
    { 'format = "cloudevents", batch = true', "", function(body) return { body.message.d.content } end },
  }
  for _, reload in ipairs(RELOADS) do
    it(("changes by a reload from %q to %q, for what waits in memory and in the log"):format(
      reload[1], reload[2]), function()
      local memory = "queue = { memory_bytes = 16384 }" -- for half of them
      local seen = [[gateway.on("MESSAGE_CREATE", function(event)
        gateway.log.info("seen " .. event.data.content:match "^%d+")
      end)]]
      local s = start(reload[1], { more = memory, script = seen })
      local sent, got = {}, {}
      hook:wait_for(1, "GUILD_CREATE")
      hook:down()
      for i = 1, 40 do
        sent[i] = ("%d %s"):format(i, ("x"):rep(500))
        message(s, sent[i])
      end
      s.gateway:wait_for_log "seen 40"
      s.gateway:wait_for_log "down"
      paths.write(s.gateway.script, script_of(reload[2], seen, memory))
      assert.is_true((s.gateway:reload()))
      hook:forget()
      hook:up()
      loop.wait_for("all of them", function()
        got = {}
        for _, request in ipairs(hook:select "xxx") do
          for _, content in ipairs(reload[3](request:json())) do
            got[#got + 1] = content
          end
        end
        return #got >= 40
      end, 30000)
      assert.same(sent, got)
    end)
  end

  it("changes by a reload, for what waits, too", function()
    local s = start ""
    hook:wait_for(1)
    hook:down()
    message(s, "waits")
    s.gateway:wait_for_log "down"
    paths.write(s.gateway.script, script_of 'format = "discordeno"')
    assert.is_true((s.gateway:reload()))
    hook:forget()
    hook:up()
    local request = hook:wait_for(1, '"waits"', 30000)[1]
    assert.equal("waits", request:json().payload.d.content)
    paths.write(s.gateway.script, script_of 'format = "discordeno", guild_loaded = true, batch = false')
    assert.is_true((s.gateway:reload()))
    message(s, "later")
    assert.equal("later", hook:wait_for(1, '"later"')[1]:json().payload.d.content)
  end)

  -- deferred, and the name of the event, of a body.
  local DEFERRED = {
    discordeno = function(body) return body.deferred, body.payload.t end,
    ["chat-sdk"] = function(body) return body.deferred, body.type:match "^GATEWAY_(.*)$" end,
    cloudevents = function(body) return body.deferred, body.type:match "^com%.discord%.(.*)$" end,
  }
  for format, look in pairs(DEFERRED) do
    it(format .. " says of an interaction that it is deferred", function()
      local s = start(('format = "%s"'):format(format),
        { more = "interaction = { grace = 200 }", hurry = 10 })
      hook:wait_for(1 + #s.fake:guilds())
      hook:down()
      s.fake:emit { interaction = interaction_world.COMMAND, shard = 0 }
      s.fake:wait_for("its answer", function(state) return #state.callbacks >= 1 end, { only = "callbacks" })
      hook:up()
      local deferred, t = look(hook:wait_for(1, "INTERACTION_CREATE", 30000)[1]:json())
      assert.is_true(deferred)
      assert.equal("INTERACTION_CREATE", t)
    end)
  end

  it("is that of interactions that pass others, too", function()
    local s = start('format = "discordeno"', { more = "interaction = { express = true }" })
    hook:wait_for(1 + #s.fake:guilds())
    local held
    hook:answer(function(request)
      if request.body:find("TYPING_START", 1, true) then
        held = true
        return "hang"
      end
    end)
    s:type()
    loop.wait_for("an event that is in flight", function() return held end)
    s.fake:emit { interaction = interaction_world.COMMAND, shard = 0 }
    local body = hook:wait_for(1, "INTERACTION_CREATE")[1]:json()
    assert.equal("INTERACTION_CREATE", body.payload.t)
    assert.same({}, hook:select "TYPING_START")
    hook:answer(nil)
    hook.server:reset_connections()
    hook:wait_for(1, "TYPING_START", 30000)
  end)

  it("is what scripts see and send as a body", function()
    local s = start('format = "discordeno"', { reload = false, script = [[
      local deliver = gateway.delivery.deliver
      function gateway.delivery:deliver(events)
        gateway.log.info("body " .. events[1].body)
        return deliver(self, events)
      end
      gateway.on("MESSAGE_CREATE", function(event) gateway.log.info("seen " .. event.body) end)
    ]] })
    message(s, "scripted")
    local request = hook:wait_for(1, '"scripted"')[1]
    assert.equal("scripted", request:json().payload.d.content)
    s.gateway:wait_for_log 'body {"shardId":0,"totalShards":1,"epoch":%d+,"payload":{[^\n]*scripted'
    s.gateway:wait_for_log 'seen {"shardId":0,"totalShards":1,"epoch":%d+,"payload":{[^\n]*scripted'
  end)

  it("makes no difference to dead letters", function()
    local s = start('format = "cloudevents"', { hurry = 10 })
    hook:answer(function(request)
      return request.body:find('"poor"', 1, true) and 422 or 204
    end)
    message(s, "poor")
    message(s, "fine")
    hook:wait_for(1, '"fine"', 30000)
    local letter = cjson.decode((paths.read(s.gateway.state_dir .. "/dead.jsonl")))
    assert.equal("MESSAGE_CREATE", letter.t)
    assert.equal("poor", letter.event.d.content)
    for _, request in ipairs(hook.requests) do
      if request.status == 422 then
        assert.equal(#request.body, letter.bytes)
      end
    end
  end)

  it("tells of gaps in each form", function()
    local s = start('format = "cloudevents", markers = true', { hurry = 10, reload = false, script = [[
      gateway.on("TYPING_START", function() gateway.delivery:queue_overflow(gateway.delivery.queue) end)
    ]] })
    hook:wait_for(1 + #s.fake:guilds())
    s.fake:fault { ["do"] = "kill_session" }
    s.fake:fault { ["do"] = "fin" }
    local event = hook:wait_for(1, "tidegate.GATEWAY_GAP", 30000)[1]:json()
    assert.truthy(event.id:match "^0%.%d+%.gap%-%d+$")
    assert.equal("session_lost", event.data.reason)
    assert.is_nil(event.sequence)
  end)

  it("cloudevents are what the SDK of npm takes, alone and in lists", function()
    local modules, why = npm.install { "cloudevents" }
    if not modules then
      hook = webhook.start()
      return pending(why)
    end
    local requests = {}
    for _, batch in ipairs { false, true } do
      local s = start(('format = "cloudevents", batch = %s'):format(tostring(batch)))
      hook:wait_for(1, "GUILD_CREATE")
      message(s, "é & \\ \"")
      hook:wait_for(1, "MESSAGE_CREATE")
      for _, request in ipairs(hook.requests) do
        requests[#requests + 1] = { headers = request.headers, body = request.body }
      end
      if not batch then
        finish()
      end
    end
    local output = npm.run(modules, [[
      import { HTTP, CloudEvent } from "cloudevents";
      import { readFileSync } from "node:fs";
      const seen = [];
      for (const request of JSON.parse(readFileSync("requests.json", "utf8"))) {
        if (!HTTP.isEvent(request)) throw new Error("no event: " + request.body);
        const events = [HTTP.toEvent(request)].flat();
        for (const event of events) {
          if (!(event instanceof CloudEvent) || !event.validate()) throw new Error(request.body);
          seen.push({ type: event.type, id: event.id, guildcreate: event.guildcreate, data: event.data });
        }
      }
      process.stdout.write(JSON.stringify(seen));
    ]], { ["requests.json"] = cjson.encode(requests) })
    local found = { READY = 0, GUILD_CREATE = 0, MESSAGE_CREATE = 0 }
    for _, event in ipairs(cjson.decode(output)) do
      local name = event.type:gsub("^com%.discord%.", "")
      found[name] = (found[name] or 0) + 1
      if name == "GUILD_CREATE" then
        assert.equal("loading", event.guildcreate)
      elseif name == "MESSAGE_CREATE" then
        assert.equal("é & \\ \"", event.data.content)
      end
    end
    assert.equal(2, found.READY)
    assert.equal(2, found.MESSAGE_CREATE)
    assert.is_true(found.GUILD_CREATE >= 2)
  end)
end)

describe("a format that cannot be", function()
  after_each(process.cleanup)

  local function check(script)
    local dir = paths.tmp()
    return process.run({ paths.bin "tidegate", "check", paths.write(dir .. "/script.lua", script) },
      { env = { DISCORD_TOKEN = "fake-token", INTENTS = "1", TIDEGATE_STATE_DIR = dir } })
  end

  it("is named when the gateway is to start", function()
    local p = check(script_of 'format = "chat-sdk", batch = true')
    assert.equal(1, p.exit_code)
    assert.truthy((p.stderr .. p.stdout):find("event_handler.batch: must be false", 1, true))
    p = check(script_of 'format = "cloud-events"')
    assert.equal(1, p.exit_code)
    assert.truthy((p.stderr .. p.stdout):find(
      'event_handler.format: expected one of "seed", "discordeno", "chat-sdk", "cloudevents"', 1, true))
  end)

  it("is warned of when it is allowed, but hardly meant", function()
    local p = check(script_of 'guild_loaded = true')
    assert.equal(0, p.exit_code)
    local said = p.stdout .. p.stderr
    assert.truthy(said:find("event_handler.guild_loaded: means something", 1, true), said)
    p = check(script_of 'format = "chat-sdk", urls = { "http://10.0.0.1/webhook" }')
    assert.equal(0, p.exit_code)
    said = p.stdout .. p.stderr
    assert.truthy(said:find("event_handler.urls[1]: is not https://", 1, true), said)
  end)
end)
