-- event_handler.headers: in each request, from wherever their values come, and nowhere to be seen.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local webhook = require "spec.support.webhook"

local hook

local function script_of(headers, more)
  return ('require "tidegate".configure { event_handler = { headers = { %s }, %s } }\n'):format(
    headers, more or "")
end

local function start(options)
  hook = webhook.start()
  options.bot = false
  options.env = options.env or {}
  options.env.EVENT_HANDLER_URL = hook.url
  return scene.start(options)
end

local function secret_file(text)
  return paths.write(paths.tmp() .. "/secret", text)
end

describe("event_handler.headers", function()
  after_each(function()
    scene.stop()
    hook:close()
  end)

  it("are in each request, also those whose values stand in a file", function()
    local file = secret_file "from-a-file-secret\n"
    local headers = ('["X-Plain"] = "plain-value", ["X-Key"] = { file = %q }'):format(file)
    local s = start { script = script_of(headers) }
    s.fake:emit { count = 3, shard = 0 }
    for _, request in ipairs(hook:wait_for(4)) do
      assert.equal("plain-value", request.headers["x-plain"])
      assert.equal("from-a-file-secret", request.headers["x-key"])
      assert.truthy(request.headers["idempotency-key"])
    end
    assert.is_nil(s.gateway.stderr:find("from-a-file-secret", 1, true))
    assert.is_nil(s.gateway.stderr:find("plain-value", 1, true))
  end)

  it("come from the environment, or from the file that it names", function()
    start { env = { EVENT_HANDLER_HEADERS = "X-One: 1\nX-Two: two words" } }
    local headers = hook:wait_for(1)[1].headers
    assert.equal("1", headers["x-one"])
    assert.equal("two words", headers["x-two"])
    scene.stop()
    hook:close()
    start { env = { EVENT_HANDLER_HEADERS_FILE = secret_file "X-Three: three-in-a-file\nX-Four: 4\n" } }
    headers = hook:wait_for(1)[1].headers
    assert.equal("three-in-a-file", headers["x-three"])
    assert.equal("4", headers["x-four"])
  end)

  it("change with a reload, which reads their files again", function()
    local file = secret_file "first-secret"
    local s = start { script = script_of(('["X-Key"] = { file = %q }'):format(file)), reload = false }
    assert.equal("first-secret", hook:wait_for(1)[1].headers["x-key"])
    paths.write(file, "second-secret")
    assert.is_true((s.gateway:reload()))
    hook:wait_for(1 + #s.fake:guilds())
    hook:forget()
    s:type()
    assert.equal("second-secret", hook:wait_for(1, "TYPING_START")[1].headers["x-key"])
    paths.write(file, "two\nlines")
    assert.is_false((s.gateway:reload()))
    s.gateway:wait_for_log 'event_handler.headers%["X%-Key"%]: must not contain line breaks'
    s:type "2"
    assert.equal("second-secret", hook:wait_for(2, "TYPING_START")[2].headers["x-key"])
    assert.is_nil(s.gateway.stderr:find "%w+%-secret")
  end)

  it("show their names alone to scripts", function()
    local s = start { script = script_of '["X-Key"] = "hidden-secret"' .. [[
      local gateway = require "tidegate"
      gateway.on("READY", function()
        gateway.log.info("scripts see " .. gateway.config.event_handler.headers["X-Key"])
      end)
    ]] }
    hook:wait_for(1)
    s.gateway:wait_for_log "scripts see %*%*%*event_handler.headers%*%*%*"
    assert.is_nil(s.gateway.stderr:find("hidden-secret", 1, true))
  end)

  it("are not those of the answer that the log quotes", function()
    local s = start { script = script_of '["X-Key"] = "echoed-secret"', hurry = 10 }
    hook:wait_for(1 + #s.fake:guilds())
    hook:answer(function(request)
      return 422, nil, "you said " .. request.headers["x-key"]
    end)
    s.fake:emit { count = 1, shard = 0 }
    s.gateway:wait_for_log "the event handler refuses this event"
    local letters = paths.read(s.gateway.state_dir .. "/dead.jsonl")
    assert.is_nil(letters:find("echoed-secret", 1, true))
    assert.is_nil(s.gateway.stderr:find("echoed-secret", 1, true))
    hook:answer(nil)
  end)
end)

describe("headers that cannot be", function()
  after_each(process.cleanup)

  local function check(script)
    local dir = paths.tmp()
    local p = process.run({ paths.bin "tidegate", "check", paths.write(dir .. "/script.lua", script) },
      { env = { DISCORD_TOKEN = "fake-token", INTENTS = "1", TIDEGATE_STATE_DIR = dir } })
    return p.exit_code, p.stdout .. p.stderr
  end

  it("are all named when the gateway is to start, without their values", function()
    local code, text = check(script_of [[
      Host = "hidden-value", ["Content-Length"] = "hidden-value", ["X-Broken"] = "hidden-value\r\nX-More: 1",
      ["X Name"] = "hidden-value", ["X-None"] = { file = "/nowhere" }, Authorization = "hidden-value",
      ["X-Number"] = 5, ["transfer-encoding"] = "hidden-value" ]])
    assert.equal(1, code)
    for _, name in ipairs {
      "Host", "Content-Length", "X-Broken", "X Name", "X-None", "Authorization", "X-Number",
      "transfer-encoding",
    } do
      assert.truthy(text:find(('event_handler.headers["%s"]: '):format(name), 1, true), name .. text)
    end
    assert.is_nil(text:find("hidden-value", 1, true))
  end)

  it("are shown masked when they are good", function()
    local code, text = check(script_of '["X-Key"] = "hidden-value"')
    assert.equal(0, code)
    assert.truthy(text:find('event_handler%.headers +{"X%-Key": "%*%*%*"}'), text)
    assert.is_nil(text:find("hidden-value", 1, true))
  end)
end)
