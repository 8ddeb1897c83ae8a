-- What operators have put into the environment, a row each, and what is said to it or is in force.

local cjson = require "cjson"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"

-- Those that have a form of their own.
local SIGNING_KEY = "aGlkZGVuLXdvcmQtb2Ytc2lnbmF0dXJlcyEh"
local OWN_FORM = {
  EVENT_HANDLER_HEADERS = "X-Api-Key: hidden-word-of-a-header",
  EVENT_HANDLER_SIGNING_SECRETS = "whsec_" .. SIGNING_KEY,
}

local function assert_hidden(text)
  assert.is_nil(text:find("hidden-word", 1, true), text)
  assert.is_nil(text:find(SIGNING_KEY, 1, true), text)
end

describe("a secret in the environment", function()
  local env

  -- All variables that the program itself calls secret.
  before_each(function()
    local list, count = process.run({ paths.bin "tidegate", "help", "environment" }).stdout, 0
    env = {}
    for name in list:gmatch "([%u_]+) +[%w_.]+ %(secret%)" do
      env[name] = OWN_FORM[name] or "hidden-word-" .. name:lower()
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
    assert_hidden(run.stdout)
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
  for _, name in ipairs { "rest", "event_handler", "control" } do
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
      assert_hidden(text)
      assert.is_nil(text:find(s.fake.token, 1, true), text)
      assert.matches("***", text, 1, true)
    end
  end)
end)

-- Beside a token; what is in force then (by key), what is refused (where, and words that are said of it), or
-- what is warned of.
local ROWS = {
  { INTENTS = "guilds guild_messages", force = { intents = 513 } },
  { INTENTS = " guilds \t guild_messages ", force = { intents = 513 } },
  { INTENTS = "guilds\nguild_messages\n", force = { intents = 513 } }, -- what YAML makes of a block
  { INTENTS = "guilds\r\nguild_messages", force = { intents = 513 } },
  { INTENTS = "guilds | guild_messages", force = { intents = 513 } },
  { INTENTS = "GUILDS|GUILD_MESSAGES", force = { intents = 513 } },
  { INTENTS = "guilds, guild_messages", force = { intents = 513 } },
  { INTENTS = "Guilds GuildMessages", force = { intents = 513 } },
  { INTENTS = "513\n", force = { intents = 513 } },
  { INTENTS = "GUILD_BANS", force = { intents = 4 } },
  { INTENTS = "GUILD_EMOJIS_AND_STICKERS,GuildEmojis", force = { intents = 8 } },
  { INTENTS = "guilds;guild_messages", refused = { "intents[1]", 'no intent is called "guilds;guild_mess' } },
  { INTENTS = "guilds GatewayIntentBits.GuildMembers", refused = { "intents[2]", "mean guild_members?" } },
  { INTENTS = "guilds messages", refused = { "intents[2]", 'no intent is called "messages"' } },
  { INTENTS = " ", refused = { "intents", "names no intent" } },
  { INTENTS = "131073", warned = "intents: 131073 has bit 17" },

  { EVENT_HANDLER_URL = "http://a http://b\n", force = { ["event_handler.urls"] = "http://a,http://b" } },
  { EVENT_HANDLER_URL = "http://a,\thttp://b", force = { ["event_handler.urls"] = "http://a,http://b" } },
  { EVENT_HANDLER_URL = "http://a;http://b", refused = { "event_handler.urls[1]", "more than one URL" } },
  { EVENT_HANDLER_URL = "http://a:99999", refused = { "event_handler.urls[1]", "a number from 1 to 65535" } },
  { EVENT_HANDLER_URL = "http://a http://b:x", refused = { "event_handler.urls[2]", "has no valid port" } },
  { EVENT_HANDLER_URL = "http+unix:///" .. ("x"):rep(107), refused = { "event_handler.urls[1]", "107" } },
  { REST_URL = "http://127.0.0.1:99999/api", refused = { "rest.url", "has no valid port" } },
  { REST_URL = "http://proxy/api?key=1", refused = { "rest.url", "must not have a ?" } },
  { REST_URL = "http://[a]/api", refused = { "rest.url", "has no valid host name" } },
  { GATEWAY_URL = "ws://127.0.0.1:99999999", refused = { "gateway_bot.url", "has no valid port" } },
  { GATEWAY_URL = "wss://user:word@a", refused = { "gateway_bot.url", "must not have a user" } },
  { GATEWAY_URL = "ws://127.0.0.1:99999", refused = { "gateway_bot.url", "has no valid port" } },
  { TIDEGATE_CONTROL = "127.0.0.1:99999", refused = { "control.listen", "expected an address and a port" } },
  { TIDEGATE_CONTROL_SECRET = " ", refused = { "control.authorization", "nothing but white space" } },
  { EVENT_HANDLER_SECRET_KEY = "  ", refused = { "event_handler.authorization", "nothing but white space" } },
  { TIDEGATE_CONTROL = "0.0.0.0:8377", TIDEGATE_CONTROL_SECRET = "short",
    warned = "control.authorization: a secret of 5 characters can be guessed" },
  { EVENT_HANDLER_URL = "http://bot", EVENT_HANDLER_SECRET_KEY = "fifteen-letters",
    warned = "event_handler.authorization: a secret of 15 characters can be guessed" },
  { TIDEGATE_CONTROL = "127.0.0.1:8377", TIDEGATE_CONTROL_SECRET = "short" },
  { EVENT_HANDLER_URL = "http://127.0.0.1:8377/", refused = "own control.listen; events need the address" },
  { TIDEGATE_ROCKS_TREES = "/srv/a /srv/b", force = { rocks_trees = "/srv/a,/srv/b" } },
  { TIDEGATE_ROCKS_TREES = "/srv/my rocks", refused = { "rocks_trees[2]", "a path that begins with /" } },
  { TOTAL_SHARDS = "16\n", force = { total_shards = 16 } },
  { TOTAL_SHARDS = "16 32", refused = { "total_shards", "a whole number" } },
  { SPAWN_SHARD_DELAY = "0", warned = "spawn_shard_delay: 0 ms is too short" },
  { SPAWN_SHARD_DELAY = "1000", warned = "spawn_shard_delay: 1000 ms is too short" },
  { TIDEGATE_CA_FILE = "/nowhere/ca.pem", refused = "cannot be read from /nowhere/ca.pem: No such file" },
  { TIDEGATE_CA_FILE = "/etc/passwd", refused = "certificates to trust cannot be read from /etc/passwd" },

  { TIDEGATE_CONTROLL = "off", warned = "CONTROLL: it means nothing here; did you mean TIDEGATE_CONTROL?" },
  { EVENT_HANDLER_URLS = "http://a", warned = "URLS: it means nothing here; did you mean EVENT_HANDLER_UR" },
  { DISCORD_TOKEN = false, DISCORD_TOKN = "t", refused = "token: is required",
    warned = "DISCORD_TOKN: it means nothing here; did you mean DISCORD_TOKEN?" },
  { INTENT = "guilds", INTENTS = false, refused = "intents: is required",
    warned = "INTENT: it means nothing here; did you mean INTENTS?" },
  { TEST_URL = "http://a", LOG_FILE = "/x", TIDEGATE_SERVICE_HOST = "10.0.0.1", DISCORD_CLIENT_ID = "1" },
}

describe("check says of the environment", function()
  after_each(process.cleanup)

  local WORDS = { force = true, refused = true, warned = true }

  local function environment(row)
    local env, shown = { DISCORD_TOKEN = "t", INTENTS = "guilds" }, {}
    for name, value in pairs(row) do
      if not WORDS[name] then
        env[name] = value
        local text = tostring(value):gsub("%c", function(c) return ("\\%d"):format(c:byte()) end)
        shown[#shown + 1] = ("%s=%s"):format(name, text)
      end
    end
    table.sort(shown)
    return env, table.concat(shown, " ")
  end

  local function at(configuration, path)
    for key in path:gmatch "[^.]+" do
      configuration = configuration[key]
    end
    return type(configuration) == "table" and table.concat(configuration, ",") or configuration
  end

  for _, row in ipairs(ROWS) do
    local env, name = environment(row)
    it(name, function()
      local run = process.run({ paths.bin "tidegate", "check", "--json" }, { env = env })
      local said = cjson.decode(run.stdout)
      assert.equal(row.refused and 1 or 0, run.exit_code, run.stdout)
      local where, words = unpack(type(row.refused) == "table" and row.refused or { nil, row.refused })
      if where then
        local place = ("\n%s (environment variable %s): "):format(where, name:match "^[^=]+")
        assert.matches(place, said.problem, 1, true)
      end
      if words then
        assert.matches(words, said.problem, 1, true)
      end
      assert.equal(row.warned and 1 or 0, #said.warnings, run.stdout)
      if row.warned then
        assert.matches(row.warned, said.warnings[1], 1, true)
      end
      for path, value in pairs(row.force or {}) do
        assert.equal(value, at(said.configuration, path))
      end
    end)
  end

  it("in words for people, too", function()
    local run = process.run({ paths.bin "tidegate", "check" }, {
      env = { DISCORD_TOKEN = "t", INTENTS = "guilds", TIDEGATE_CONTROLL = "x" },
    })
    assert.equal(0, run.exit_code)
    assert.matches("^tidegate check: warning: environment variable TIDEGATE_CONTROLL: [^\n]*\n$", run.stderr)
  end)
end)

it("ctl says what may be misspelt when it finds no gateway", function()
  local run = process.run({ paths.bin "tidegate", "ctl", "status" }, {
    env = { TIDEGATE_CONTROLL = "unix:/run/here", TIDEGATE_CONTROL = "unix:/run/nothing-here" },
  })
  assert.equal(69, run.exit_code)
  assert.matches("tidegate ctl: warning: environment variable TIDEGATE_CONTROLL: it means nothing here; "
    .. "did you mean TIDEGATE_CONTROL?", run.stderr, 1, true)
end)

describe("run says of the environment", function()
  after_each(scene.stop)

  it("what is misspelt, in the manager's log, once over all reloads", function()
    local s = scene.start { bot = false, shards = 2, per_worker = 1, workers = 2,
      env = { TIDEGATE_CONTROLL = "off", EVENT_HANDLER_URLS = "http://a" } }
    s.gateway:reload()
    s.gateway:reload()
    for name, meant in pairs {
      TIDEGATE_CONTROLL = "TIDEGATE_CONTROL", EVENT_HANDLER_URLS = "EVENT_HANDLER_URL",
    } do
      assert.equal(1, s.gateway:count_log(name))
      s.gateway:wait_for_log(("warn  manager: environment variable %s: it means nothing here; "
        .. "did you mean %s%%?\n"):format(name, meant))
    end
  end)

  it("what is misspelt, when nothing can start for it", function()
    local env = { DISCORD_TOKN = "t", INTENTS = "guilds" }
    local run = process.run({ paths.bin "tidegate", "run" }, { env = env })
    assert.equal(78, run.exit_code)
    assert.matches("token: is required", run.stderr, 1, true)
    assert.matches("warn  manager: environment variable DISCORD_TOKN: it means nothing here; did you mean "
      .. "DISCORD_TOKEN?", run.stderr, 1, true)
  end)

  it("that a delay is too short, where the gateway is Discord's own", function()
    local s = scene.start { bot = false, ready = false, spawn_shard_delay = 1000, script = [[
local gateway = require "tidegate"
function gateway.manager:spawn_shards() end
]], env = { GATEWAY_URL = "wss://gateway.discord.gg" } }
    s.gateway:wait_for_log "warn  manager: spawn_shard_delay: 1000 ms is too short"
  end)
end)
