-- What scripts and their modules get to see of secrets, and what they can do with it.

local cjson = require "cjson"
local http = require "spec.support.http"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"

local CONTROL = "the-secret-of-the-control-api"

describe("a script", function()
  local s, elsewhere

  -- Tells what it was asked for.
  before_each(function()
    elsewhere = http.serve(function(request)
      elsewhere.requests[#elsewhere.requests + 1] = request
      return 204
    end)
    elsewhere.requests = {}
  end)
  after_each(function()
    elsewhere:close()
    scene.stop()
  end)

  -- Runs the code in a worker; what it returns. Words that stand for the addresses are replaced.
  local function run(code, configure)
    s = scene.start {
      bot = { authorization = "the-secret-of-the-bot" }, reload = false,
      env = { TIDEGATE_CONTROL_SECRET = CONTROL, ELSEWHERE = elsewhere.url },
      script = ([[
local gateway = require "tidegate"
local config, elsewhere = nil, os.getenv "ELSEWHERE"
local early = { token = os.getenv "DISCORD_TOKEN", control = os.getenv "TIDEGATE_CONTROL_SECRET" }
%s
gateway.on("TYPING_START", function()
  config = gateway.config
  local ok, result, err = pcall(function() %s end)
  local said = gateway.json.encode { ok = ok, result = tostring(result), err = tostring(err) }
  gateway.log.info("said %%s", gateway.crypto.hex.encode(said)) -- whatever the log masks
end)
]]):format(configure or "", code),
    }
    s:type()
    local hex = s.gateway:wait_for_log "said (%x+)"
    return cjson.decode((hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)))
  end

  local SHOWN = "gateway.configure { script = { secrets = true } }"
  local FAKE = "fake.discord.token"

  -- What it looks at; what it sees, hidden and shown.
  local ROWS = {
    ["config.token"] = { "***token***", FAKE },
    ["config.rest.authorization"] = { "***rest.authorization***", "Bot " .. FAKE },
    ["config.event_handler.authorization"] = { "***event_handler.authorization***", "the-secret-of-the-bot" },
    ["config.control.authorization"] = { "***control.authorization***", CONTROL },
    ["os.getenv 'DISCORD_TOKEN'"] = { "***token***", FAKE },
    ["early.token"] = { "***token***", "***token***" }, -- from before gateway.configure
    ["os.getenv 'REST_AUTHORIZATION'"] = { "nil", "nil" },
    ["select(2, require 'tidegate.core'.rest())"] = {
      "***rest.authorization***", "***rest.authorization***",
    },
  }

  for i, configure in ipairs { "", SHOWN } do
    it(configure == "" and "does not see secrets" or "sees secrets with script.secrets", function()
      local code = {}
      for what in pairs(ROWS) do code[#code + 1] = ("[%q] = tostring((%s))"):format(what, what) end
      local said = run("return gateway.json.encode {" .. table.concat(code, ",") .. "}", configure)
      local seen = cjson.decode(said.result)
      for what, row in pairs(ROWS) do
        assert.equal(row[i], seen[what], what)
      end
    end)
  end

  it("is let in by gateway.rest, whichever way it authorizes", function()
    local said = run [[
for _, authorization in ipairs { false, "Bot " .. config.token, config.rest.authorization } do
  local headers = authorization and { authorization = authorization }
  assert(gateway.rest.get("/gateway/bot", { headers = headers }).url)
end
]]
    assert.is_true(said.ok, said.result)
  end)

  local AUTHORIZED = "gateway.http.get(config.rest.url .. '/gateway/bot', { headers = { "
    .. "['User-Agent'] = 'DiscordBot (http://bot, 1)', Authorization = 'Bot ' .. config.token } })"

  it("that authorizes requests of gateway.http itself is told of script.secrets, at its line", function()
    local said = run("local answer = " .. AUTHORIZED .. " return answer")
    assert.is_false(said.ok)
    assert.matches("script.lua:7: gateway.http.get: the header Authorization has the placeholder of token"
      .. " in it: scripts do not see secrets unless script.secrets = true in gateway.configure;",
      said.result, 1, true)
  end)

  it("that authorizes requests of gateway.http itself is let in with script.secrets", function()
    local said = run("return " .. AUTHORIZED .. ".status", SHOWN)
    assert.equal("200", said.result)
  end)

  it("that has a secret in a URL is told, too", function()
    local said = run "gateway.http.get('http://bot:' .. config.control.authorization .. '@127.0.0.1:1/')"
    assert.is_false(said.ok)
    assert.matches("the login of the URL has the placeholder of control.authorization", said.result, 1, true)
  end)

  -- The placeholder is known to everybody: who writes it somewhere must not get the token in its place, nor
  -- have the request refused.
  it("that hands on a placeholder of a stranger tells nothing", function()
    local said = run [[
assert(gateway.http.post(elsewhere, { body = "***token***" }))
assert(gateway.http.post(elsewhere, { json = { content = "***token***" } }))
assert(gateway.http.post(elsewhere, { headers = { Reason = "***token***" } }))
assert(gateway.http.post(elsewhere .. "/***token***"))
assert(gateway.http.post(elsewhere, { query = { name = "***token***" } }))
local lines = { "Authorization: Bot ***token***" }
local core = require "tidegate.core"
assert(core.http("gateway.rest.get", "GET", elsewhere .. "/", lines, nil, 5000, 5000, 100, 5000))
]]
    assert.is_true(said.ok, said.result)
    assert.equal(6, #elsewhere.requests)
    for _, request in ipairs(elsewhere.requests) do
      local all = request.path .. (request.body or "") .. cjson.encode(request.headers)
      assert.matches("%*%*%*token%*%*%*", (all:gsub("%%2A", "*")))
      assert.is_nil(all:find(FAKE, 1, true))
    end
  end)

  it("that configures the gateway from the environment itself goes on working", function()
    local said = run("return config.control.authorization", [[
gateway.configure {
  token = "Bot " .. assert(os.getenv "DISCORD_TOKEN"),
  control = { authorization = "Bearer " .. early.control },
}
]])
    assert.equal("***control.authorization***", said.result)
    assert.equal(200, s.gateway:control("GET", "/status", { secret = "Bearer " .. CONTROL }).status)
    assert.equal(401, s.gateway:control("GET", "/status", { secret = CONTROL }).status)
    assert.is_true(s.gateway:reload())
    assert.equal(200, s.gateway:control("GET", "/status", { secret = "Bearer " .. CONTROL }).status)
  end)

  it("sees the tokens that are its own business", function()
    local seen = [[
function gateway.delivery:handle_interaction_queueing(event)
  local ok = gateway.rest.post("/interactions/" .. event.data.id .. "/" .. event.data.token .. "/callback",
    { json = { type = 5 } })
  gateway.log.info("answered: %s", tostring(ok))
end
function gateway.manager:fetch_gateway_bot()
  local info, err = gateway.rest.get "/gateway/bot"
  gateway.log.info("fetched for %s", self == gateway.manager and gateway.config.token)
  return info, err
end
gateway.configure { interaction = { grace = 0 } }
]]
    run("return 1", seen)
    s.gateway:wait_for_log "manager: fetched for %*%*%*token%*%*%*"
    s.bot:answer(function() return 503 end)
    s.fake:emit { interaction = 2, shard = 0 }
    s.gateway:wait_for_log "answered: true"
  end)
end)

it("check shows of a script neither secret nor placeholder", function()
  finally(process.cleanup)
  for _, script in ipairs { "", "require('tidegate').configure { script = { secrets = true } }" } do
    local run = process.run({ paths.bin "tidegate", "check", "--json",
      paths.write(paths.tmp() .. "/script.lua", script) },
      { env = { DISCORD_TOKEN = "the.tokens.own", INTENTS = "guilds" } })
    assert.equal(0, run.exit_code, run.stderr)
    local configuration = cjson.decode(run.stdout).configuration
    assert.equal("***", configuration.token)
    assert.equal(script ~= "", configuration.script.secrets)
    assert.is_nil((run.stdout .. run.stderr):find("the.tokens.own", 1, true))
  end
end)
