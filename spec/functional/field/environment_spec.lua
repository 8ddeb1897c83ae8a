-- What operators have put into the environment, a row each, and what is said to it or is in force.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"

describe("a secret in the environment", function()
  local env

  -- All variables that the program itself calls secret.
  before_each(function()
    local list, count = process.run({ paths.bin "tidegate", "help", "environment" }).stdout, 0
    env = {}
    for name in list:gmatch "([%u_]+) +[%w_.]+ %(secret%)" do
      env[name] = "hidden-word-" .. name:lower()
      count = count + 1
    end
    assert.is_true(count >= 5)
  end)

  after_each(scene.stop)
  after_each(process.cleanup)

  it("is not told by check", function()
    env.INTENTS = "guilds"
    local run = process.run({ paths.bin "tidegate", "check" }, { env = env })
    assert.equal(0, run.exit_code, run.stderr)
    assert.is_nil(run.stdout:find("hidden-word", 1, true), run.stdout)
  end)

  it("is in no log, in no dead letter and not in gateway.config", function()
    env.DISCORD_TOKEN, env.REST_AUTHORIZATION = nil, nil -- the fake Discord wants its own
    local secrets = {}
    for _, secret in pairs(env) do
      secrets[#secrets + 1] = secret
    end
    local said = table.concat(secrets, " ")
    env.SAID = said
    local s = scene.start {
      env = env, hurry = 50, bot = { authorization = env.EVENT_HANDLER_SECRET_KEY }, script = [[
local gateway = require "tidegate"
gateway.filter("TYPING_START", function()
  local line = { os.getenv "DISCORD_TOKEN", os.getenv "SAID" }
  for _, name in ipairs { "rest", "event_handler", "control", "identify" } do
    line[#line + 1] = gateway.config[name].authorization
  end
  gateway.log.warn("known are %s", table.concat(line, " "))
end)
]],
    }
    s.bot:answer(function() return 400, nil, said .. " Bot " .. s.fake.token end)
    s:type()
    s.gateway:wait_for_log "it is in dead.jsonl"
    local line = s.gateway:wait_for_log "known are ([^\n]*)"
    local letter = paths.read(s.gateway.state_dir .. "/dead.jsonl")
    for _, text in ipairs { line, letter } do
      assert.is_nil(text:find("hidden-word", 1, true), text)
      assert.is_nil(text:find(s.fake.token, 1, true), text)
      assert.matches("***", text, 1, true)
    end
  end)
end)
