-- What somebody reads when the gateway cannot start, or not well.

local fake_discord = require "spec.support.fake_discord"
local gateway = require "spec.support.gateway"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"

after_each(gateway.teardown)

local function ends(options, code)
  local g = gateway.start(options)
  assert.equal(code, (g.process:wait(20000)))
  return g.stderr
end

-- The log without the times.
local function said(options, code)
  return (ends(options, code):gsub("%d+%-%d+%-%d+T[%d:.]+Z ", ""))
end

describe("the gateway that cannot start", function()
  it("suggests the option that was meant", function()
    assert.matches("^tidegate run: unknown option %-%-wacth %(did you mean %-%-watch%?%)\n",
      ends({ args = { "--wacth" } }, 64))
    assert.matches("^tidegate run: unknown option %-%-xyz\n", ends({ args = { "--xyz" } }, 64))
  end)

  it("says in a line what is wrong with the script's file", function()
    assert.equal("error manager: cannot open nowhere.lua: No such file or directory\n",
      said({ script = "nowhere.lua" }, 78))
    assert.matches("^error manager: [^\n]*script.lua:2: unexpected symbol near '='\n$",
      said({ script = "local a\na = = 1\n" }, 78))
  end)

  it("says what the environment lacks", function()
    local log = said({ env = { DISCORD_TOKEN = false, INTENTS = "gilds" } }, 78)
    assert.matches("^error manager: there is no script, and the environment says:\n  ", log)
    assert.matches("\n  token: is required; set DISCORD_TOKEN", log)
    assert.matches('no intent is called "gilds"; did you mean guilds%?', log)
  end)

  it("checks the file of certificates before all else", function()
    local log = said({ env = { TIDEGATE_CA_FILE = "/nowhere.pem" } }, 78)
    assert.matches("^error manager: certificates to trust cannot be read from /nowhere.pem: No such file or "
      .. "directory. tls.ca_file %(TIDEGATE_CA_FILE%) has to name[^\n]*\n$", log)
    local file = paths.write(paths.tmp() .. "/no.pem", "no certificate")
    assert.matches("^error manager: certificates to trust cannot be read from [^\n]*no.pem: [^\n]*\n$",
      said({ env = { TIDEGATE_CA_FILE = file } }, 78))
  end)

  it("says what to do about a certificate that is not trusted", function()
    local fake = fake_discord.start { tls = true }
    local log = said({ fake = fake, env = { TIDEGATE_CA_FILE = false } }, 69)
    assert.matches("^info  manager: the control API is at [^\n]*\n"
      .. "warn  manager: [^\n]*certificate[^\n]*tls.ca_file, TIDEGATE_CA_FILE", log)
    assert.matches('\nwarn  manager: no gateway information yet attempt=2 delay=%d+ '
      .. 'reason="the same again"\n', log)
    assert.matches("\nerror manager: the gateway cannot start: [^\n]*certificate[^\n]*\n$", log)
    assert.equal(6, select(2, log:gsub("\n", "")))
  end)
end)

it("many shards in the same trouble do not flood the log", function()
  local fake = fake_discord.start { max_concurrency = 64 }
  local g = gateway.start {
    fake = fake, workers = 1, shards = 60, shards_per_worker = 60, log_level = "info",
    env = { GATEWAY_URL = "ws://127.0.0.1:1", SPAWN_SHARD_DELAY = 0, TIDEGATE_HURRY = 20 },
  }
  loop.wait_for("30 of the lines", function()
    return g:count_log ": connecting failed" == 30
  end)
  g:stop()
  local more = tonumber(g:wait_for_log
    "shard %d+: more like this were not shown: connecting failed [^\n]*held=(%d+)")
  assert.is_true(more >= 1, more)
  assert.equal(31, g:count_log ": connecting failed")
end)
