-- What `tidegate check` tells: for people as tables, for programs as JSON.

local cjson = require "cjson"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local uv = require "luv"

after_each(process.cleanup)

local HEAD = [[
local gateway = require "tidegate"
gateway.configure { token = "abc.def.ghi", intents = 513, queue = { memory_bytes = 2 ^ 20 } }
]]

-- Line 3 is the first of `text`.
local function check(text, options)
  options = options or {}
  local dir = paths.tmp()
  paths.write(dir .. "/bot.lua", HEAD .. text)
  local argv = { paths.bin "tidegate", "check", "bot.lua" }
  argv[#argv + 1] = options.json and "--json" or nil
  local run = process.run(argv, { cwd = dir, env = options.env })
  assert.equal(options.exit_code or 0, run.exit_code, run.stdout .. run.stderr)
  return run.stdout, run.stderr
end

-- The lines under a heading, without what aligns them.
local function section(output, title)
  local text = ("\n" .. output .. "\n"):match("\n" .. title .. "\n(.-)\n\n") or ""
  local lines = {}
  for line in (text .. "\n"):gmatch "([^\n]+)\n" do
    lines[#lines + 1] = line:gsub("^%s+", ""):gsub("%s%s+", " | ")
  end
  return lines
end

local function has(lines, wanted)
  for _, line in ipairs(lines) do
    if line == wanted then
      return true
    end
  end
  return false, table.concat(lines, "\n")
end

describe("the configuration", function()
  it("is told in the units of people, what differs from the defaults first", function()
    local output = check ""
    local set, default = section(output, "Configuration"), section(output, "By default")
    assert.same({
      "token | ***",
      "intents | guilds, guild_messages (513)",
      "queue.memory_bytes | 1 MiB",
    }, set)
    assert(has(default, "spawn_shard_delay | 5300 ms"))
    assert(has(default, "event_handler.timeout | 10 s"))
    assert(has(default, "resharding.check_interval | 8 h"))
    assert(has(default, "queue.disk_bytes | 1 GiB"))
    assert(has(default, "queue.drop_first | TYPING_START, PRESENCE_UPDATE"))
    assert(has(default, "event_handler.urls | none: events only reach Lua"))
  end)

  it("shows what the environment has set, and no secret", function()
    local output = check("", {
      env = {
        EVENT_HANDLER_URL = "http://user:hidden-word@127.0.0.1:81/events?key=hidden-word",
        EVENT_HANDLER_SECRET_KEY = "hidden-word",
        REST_AUTHORIZATION = "Bot hidden-word",
        LOG_LEVEL = "debug",
      },
    })
    local set = section(output, "Configuration")
    assert(has(set, "event_handler.urls | http://127.0.0.1:81/events"))
    assert(has(set, "event_handler.authorization | ***"))
    assert(has(set, "log.level | debug"))
    assert.is_nil(output:find("hidden", 1, true))
    assert.is_nil(output:find("abc.def", 1, true))
  end)

  it("tells which files secrets come from", function()
    local dir = paths.tmp()
    local file = paths.write(dir .. "/secret", "hidden-word\n")
    paths.write(dir .. "/rest_authorization", "Bot hidden-word\n")
    local env = { EVENT_HANDLER_SECRET_KEY_FILE = file, CREDENTIALS_DIRECTORY = dir }
    local output = check("", { env = env })
    local set = section(output, "Configuration")
    assert(has(set, "event_handler.authorization | *** from " .. file))
    assert(has(set, "rest.authorization | *** from " .. dir .. "/rest_authorization"))
    assert.is_nil(output:find("hidden-word", 1, true))
    assert.same({
      ["event_handler.authorization"] = file, ["rest.authorization"] = dir .. "/rest_authorization",
    }, cjson.decode((check("", { env = env, json = true }))).secretFiles)

    env.CREDENTIALS_DIRECTORY, env.EVENT_HANDLER_SECRET_KEY_FILE = nil, dir .. "/nothing"
    local _, problem = check("", { env = env, exit_code = 1 })
    assert.matches("event_handler.authorization (environment variable EVENT_HANDLER_SECRET_KEY_FILE): "
      .. "cannot read " .. dir .. "/nothing: No such file or directory", problem, 1, true)
  end)

  it("is told without a script, too", function()
    local run = process.run({ paths.bin "tidegate", "check" }, {
      env = { DISCORD_TOKEN = "abc.def.ghi", INTENTS = "guilds" },
    })
    assert.equal(0, run.exit_code, run.stderr)
    assert.matches("^No script: the environment alone", run.stdout)
    assert(has(section(run.stdout, "Configuration"), "intents | guilds (1)"))
  end)
end)

describe("sinks", function()
  -- Of the configuration alone, with nothing else in it.
  local function check_sinks(sinks, options)
    options = options or {}
    local dir = paths.tmp()
    paths.write(dir .. "/bot.lua", ([[
local gateway = require "tidegate"
gateway.configure { token = "abc.def.ghi", intents = 513, sinks = { %s } }
]]):format(sinks))
    local argv = { paths.bin "tidegate", "check", "bot.lua", options.json and "--json" or nil }
    local run = process.run(argv, { cwd = dir, env = options.env })
    assert.equal(options.exit_code or 0, run.exit_code, run.stdout .. run.stderr)
    assert.is_nil((run.stdout .. run.stderr):find("hidden-word", 1, true))
    return run.stdout, run.stderr
  end

  it("are told each with the keys of its kind, and without users and passwords", function()
    local output = check_sinks [[
      stats = {
        urls = { "http://user:hidden-word@127.0.0.1:81/x", "http+unix:///run/stats.sock" }, batch = true,
        events = { "GUILD_CREATE", "GUILD_DELETE" }, queue = { max_age = 60000 },
        authorization = "hidden-word",
      },
      feed = { url = "redis://user:hidden-word@127.0.0.1:6379/1" },
      ours = { batch = { linger = 50 } } ]]
    local set, default = section(output, "Configuration"), section(output, "By default")
    assert.same({
      "token | ***",
      "intents | guilds, guild_messages (513)",
      "sinks.feed.url | redis://127.0.0.1:6379/1",
      "sinks.ours.urls | none: a script takes the events",
      "sinks.ours.batch | up to 64 events, 256 KiB, linger 50 ms",
      "sinks.stats.urls | http://127.0.0.1:81/x, http+unix:///run/stats.sock",
      "sinks.stats.events | GUILD_CREATE, GUILD_DELETE",
      "sinks.stats.queue.max_age | 1 min",
      "sinks.stats.authorization | ***",
      "sinks.stats.batch | true",
    }, set)
    assert(has(default, "sinks.feed.queue.memory_bytes | 16 MiB"))
    assert(has(default, "sinks.feed.markers | true"))
    assert(has(default, "sinks.stats.markers | false"))
    assert(has(default, "sinks.feed.max_length | 100000"))
    assert(has(default, "sinks.feed.settle | 2 s"))
    assert(has(default, "sinks.ours.timeout | 10 s"))
    assert.is_false((has(default, "sinks.feed.format | seed")))
    assert.is_false((has(default, "sinks.stats.layout | tidegate")))
  end)

  it("are told with the files that their secrets come from, and with the proxies on their way", function()
    local dir = paths.tmp()
    local url = paths.write(dir .. "/url", "rediss://:hidden-word@redis.test/2\n")
    local key = paths.write(dir .. "/key", "hidden-word-hidden-word\n")
    local sinks = ([[
      feed = { url = { file = "%s" } },
      stats = {
        url = "https://stats.test/x?key=hidden-word", authorization = { file = "%s" },
      } ]]):format(url, key)
    local output = check_sinks(sinks, { env = { https_proxy = "proxy.test:3128" } })
    local set = section(output, "Configuration")
    assert(has(set, "sinks.feed.url | rediss://redis.test/2 from " .. url))
    assert(has(set, "sinks.stats.authorization | *** from " .. key))
    assert(has(section(output, "Proxies of the environment"),
      "the sink stats | https://stats.test/x | over http://proxy.test:3128 (https_proxy)"))
    assert.is_nil(output:find("the sink feed", 1, true))
    local report = cjson.decode((check_sinks(sinks, { json = true })))
    assert.same({ ["sinks.feed.url"] = url, ["sinks.stats.authorization"] = key }, report.secretFiles)
    assert.equal("rediss://redis.test/2", report.configuration.sinks.feed.url)
    assert.equal("log", report.configuration.sinks.feed.queue.durability)
  end)

  it("are refused with all mistakes at once, each with its full path and without what was secret", function()
    local _, problems = check_sinks([[
      stats = { url = "http://stats", queue = { memory_bytes = 1 }, layout = "discordjs", evnts = "all" },
      feed = { url = "redis://:hidden-word@redis:no/1" },
      more = { url = "redis://redis", format = "seed" },
      bot = {} ]], { exit_code = 1 })
    for _, wanted in ipairs {
      "sinks.bot: is the sink that event_handler configures; take another name",
      "sinks.feed.url: has no valid port; it is a number from 1 to 65535",
      "sinks.more.format: means nothing here: entries of a Redis stream have fields of their own; see layout",
      "sinks.stats.queue.memory_bytes: expected a whole number of bytes from 4096 to 1099511627776, got 1",
      "sinks.stats.evnts: unknown key; did you mean sinks.stats.events?",
      "sinks.stats.layout: means nothing here: it is of Redis, and this sink has URLs of http",
    } do
      assert.matches(wanted, problems, 1, true)
    end
    assert.equal(6, select(2, problems:gsub("sinks%.[%w._]+: ", "")))
  end)

  it("are warned of where others may read their passwords", function()
    local _, warnings = check_sinks [[ feed = { url = "redis://:hidden-word@redis.test" } ]]
    assert.matches("sinks.feed: redis://redis.test is not rediss://, so that the password in it is to be "
      .. "read by all between here and there", warnings, 1, true)
  end)
end)

describe("the cluster", function()
  local function check_cluster(keys, options)
    options = options or {}
    local dir = paths.tmp()
    paths.write(dir .. "/bot.lua", ([[
local gateway = require "tidegate"
gateway.configure { token = "abc.def.ghi", intents = 513, %s }
local cluster = gateway.config.cluster or {}
print("seen: " .. tostring(cluster.url) .. " " .. tostring(os.getenv "TIDEGATE_CLUSTER"))
]]):format(keys))
    local run = process.run({ paths.bin "tidegate", "check", "bot.lua" }, { cwd = dir, env = options.env })
    assert.equal(options.exit_code or 0, run.exit_code, run.stdout .. run.stderr)
    assert.is_nil((run.stdout .. run.stderr):find("hidden-word", 1, true), run.stdout .. run.stderr)
    return run.stdout, run.stderr
  end

  it("is told with its host's name, without user and password, which scripts do not see either", function()
    local output, log = check_cluster([[ cluster = { url = "rediss://user:hidden-word@redis.test/1" } ]])
    local set = section(output, "Configuration")
    assert(has(set, "cluster.url | rediss://redis.test/1"))
    assert(has(set, "cluster.name | bot"))
    assert(has(set, "cluster.host | " .. uv.os_gethostname()))
    assert.matches("seen: rediss://redis.test/1 nil", output .. log, 1, true)
  end)

  it("is configured by the environment alone, and its URL may stand in a file", function()
    local env = {
      TIDEGATE_CLUSTER = "rediss://:hidden-word@redis.test/1", TIDEGATE_CLUSTER_NAME = "ferry",
      TIDEGATE_CLUSTER_HOST = "gw-1",
    }
    local output, log = check_cluster("", { env = env })
    local set = section(output, "Configuration")
    assert(has(set, "cluster.url | rediss://redis.test/1"))
    assert(has(set, "cluster.name | ferry"))
    assert(has(set, "cluster.host | gw-1"))
    assert.matches("seen: rediss://redis.test/1 rediss://redis.test/1", output .. log, 1, true)
    local file = paths.write(paths.tmp() .. "/url", "rediss://:hidden-word@redis.test/2\n")
    output = check_cluster("", { env = { TIDEGATE_CLUSTER_FILE = file } })
    assert(has(section(output, "Configuration"), "cluster.url | rediss://redis.test/2 from " .. file))
  end)

  it("is refused beside what cannot be, all at once and in words", function()
    local _, problems = check_cluster([[
      total_shards = 8, first_shard_id = 4, identify = { url = "http://broker" },
      queue = { durability = "memory" },
      cluster = { url = "redis://redis.test", host = "gw 1" } ]], { exit_code = 1 })
    for _, wanted in ipairs {
      "first_shard_id: cannot stand beside cluster.url: the hosts of a cluster share all shards by",
      "identify: there is no broker of identifies any more",
      'queue.durability: must be "log" beside cluster.url',
      "cluster.host: expected up to 64 letters, digits, dots, _ and -",
    } do
      assert.matches(wanted, problems, 1, true)
    end
    _, problems = check_cluster("", { env = { TIDEGATE_CLUSTER_HOST = "gw-1" }, exit_code = 1 })
    assert.matches("cluster.host: is set, but cluster.url is not", problems, 1, true)
    _, problems = check_cluster([[ cluster = { url = "redis://:hidden-word@redis.test" } ]])
    assert.matches("cluster.url: redis://redis.test is not rediss://", problems, 1, true)
  end)
end)

describe("the script", function()
  it("is told to load in both roles", function()
    assert.matches("^bot.lua loads in the manager and in the workers%.\n", check "")
  end)

  it("has overridden methods, told with who calls them", function()
    local output = check [[
function gateway.manager:calculate_worker_id(shard_id) return shard_id % 2 end
function gateway.shard:heartbeat(interval) return gateway.default.shard.heartbeat(self, interval) end
if gateway.role == "manager" then function gateway.cache:message_changed() return true end end
if gateway.role == "worker" then function gateway.manager:kill() end end
]]
    assert.same({
      "bot.lua:3 | manager | gateway.manager:calculate_worker_id",
      "bot.lua:5 | gateway.cache:message_changed (only assigned in the manager: never called)",
      "bot.lua:6 | gateway.manager:kill (only assigned in the workers: never called)",
      "bot.lua:4 | workers | gateway.shard:heartbeat",
    }, section(output, "Overridden methods"))
  end)

  it("has filters, told with those that are compiled", function()
    local output = check [[
gateway.filter({ "TYPING_START", "PRESENCE_UPDATE" }, false)
gateway.filter("MESSAGE_CREATE", function(event) return event.size < 100000 end, { priority = 3 })
gateway.filter("GUILD_CREATE", true)
]]
    assert.same({
      "bot.lua:3 | drops, compiled | PRESENCE_UPDATE, TYPING_START",
      "bot.lua:4 | asks a function | MESSAGE_CREATE (priority 3)",
      "bot.lua:5 | lets pass, compiled | GUILD_CREATE",
    }, section(output, "Filters"))
  end)

  it("has handlers, told with where they run", function()
    local output = check [[
gateway.on("MESSAGE_CREATE", function() end, { ordered = "guild", concurrency = 7 })
gateway.on({ "ready", "resumed" }, function() end)
gateway.on("reload", function() end)
gateway.on_broadcast("settings", function() end)
if gateway.role == "manager" then gateway.on("load", function() end) end
if gateway.role == "manager" then gateway.on("GUILD_CREATE", function() end) end
]]
    assert.same({
      "bot.lua:3 | workers | MESSAGE_CREATE (in order of each guild) (7 at once)",
      "bot.lua:4 | workers | ready, resumed",
      "bot.lua:5 | both | reload",
      'bot.lua:6 | both | broadcasts of "settings"',
      "bot.lua:7 | manager | load",
      "bot.lua:8 | GUILD_CREATE (only registered in the manager: never called)",
    }, section(output, "Handlers"))
  end)

  it("is not told to have what it has not", function()
    local output = check ""
    for _, title in ipairs { "Overridden methods", "Filters", "Handlers" } do
      assert.is_nil(output:find(title, 1, true))
    end
  end)

  it("looks for modules where it says", function()
    local output = check("", { env = { TIDEGATE_ROCKS_TREES = "/opt/rocks" } })
    local lines = section(output, "Where modules are looked for")
    assert.equal("Lua | ./?.lua", lines[1])
    assert(has(lines, "/opt/rocks/share/lua/5.1/?.lua"))
  end)

  it("never makes lines that do not fit, nor shows JSON", function()
    local output = check [[
gateway.filter({ "TYPING_START", "PRESENCE_UPDATE", "CHANNEL_PINS_UPDATE", "GUILD_MEMBER_ADD",
  "VOICE_STATE_UPDATE", "GUILD_MEMBER_REMOVE", "GUILD_MEMBER_UPDATE", "GUILD_ROLE_CREATE" }, false)
]]
    for line in output:gmatch "[^\n]+" do
      assert.is_true(#line <= 100, line)
    end
    assert.is_nil(output:find '[{}"]')
  end)
end)

describe("--json", function()
  it("has it all as one object", function()
    local report = cjson.decode((check([[
function gateway.manager:calculate_worker_id(shard_id) return shard_id % 2 end
gateway.filter("TYPING_START", false)
]], { json = true, env = { EVENT_HANDLER_URL = "http://user:hidden-word@127.0.0.1:81/" } })))
    assert.equal("***", report.configuration.token)
    assert.equal("http://127.0.0.1:81/", report.configuration.event_handler.urls[1])
    assert.equal(1048576, report.configuration.queue.memory_bytes)
    assert.same({ table = "manager", method = "calculate_worker_id", where = "bot.lua:3", used = true,
      switchedOff = false }, report.manager.overrides[1])
    assert.is_false(report.worker.overrides[1].used)
    assert.is_true(report.worker.filters[1].compiled)
  end)

  it("tells what is wrong, with exit code 1", function()
    local output = check("error 'oh no'\n", { json = true, exit_code = 1 })
    assert.matches("bot.lua:3: oh no", cjson.decode(output).problem, 1, true)
  end)
end)
