-- What waits, by type, and discarding it by shard, type and age: in memory and in the event log.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local scene = require "spec.support.scene"

describe("what waits", function()
  local s

  after_each(scene.stop)

  local function ask(method, path, json, status)
    local answer = s.gateway:control(method, path, { json = json, timeout = 30000 * paths.slow })
    assert.equal(status or 200, answer.status, answer.body)
    return cjson.decode(answer.body)
  end

  local function discard(which) return ask("POST", "/queue/discard", which).discarded end

  local function types(query)
    local found = ask("GET", "/queue/types" .. (query or ""))
    local list = {}
    for _, row in ipairs(found.types) do
      list[row.type] = row.events
      assert.is_true(row.bytes > 0 and row.age >= 0)
    end
    return list, found.onDisk
  end

  -- Until so many wait, in memory and on disk.
  local function wait_waiting(n)
    local late = loop.now() + 20000 * paths.slow
    local sum
    repeat
      local list, on_disk = types()
      sum = on_disk
      for _, events in pairs(list) do
        sum = sum + events
      end
    until sum >= n or loop.now() > late
    assert.equal(n, sum)
  end

  local function start(options)
    s = scene.start(options)
    s.bot:wait_for_events(#s.fake:guilds(), "GUILD_CREATE")
    s.bot:down()
    return s
  end

  local function typing(n, shard)
    for i = 1, n do
      s:type(tostring(i), shard)
    end
  end

  it("is shown by type, and goes by shard, type and age; the rest comes, in order", function()
    start { shards = 2, per_worker = 1, workers = 2, fake = { max_concurrency = 2 } }
    s.fake:emit { count = 10, shard = 0 }
    s.fake:emit { count = 10, shard = 1 }
    typing(5, 0)
    typing(5, 1)
    wait_waiting(30)
    local list, on_disk = types()
    assert.same({ { MESSAGE_CREATE = 20, TYPING_START = 10 }, 0 }, { list, on_disk })
    assert.same({ MESSAGE_CREATE = 10, TYPING_START = 5 }, (types "?shard=1&sink=bot"))
    -- The first event of each shard is on its way.
    assert.equal(5, discard { type = "TYPING_START", shard = 1 })
    assert.same({ MESSAGE_CREATE = 10 }, (types "?shard=1"))
    assert.equal(0, discard { older = 3600000 })
    assert.equal(0, discard { type = "NEVER_HEARD_OF" })
    assert.equal(5, discard { type = "TYPING_START", older = 0 })
    assert.same({ MESSAGE_CREATE = 20 }, (types()))
    s.gateway:wait_for_log "events that waited for bot are discarded by request"
    s.bot:up()
    s:wait_delivered(20000)
    assert.equal(0, #s.bot:select "TYPING_START")
    assert.equal(20, #s.bot:select "MESSAGE_CREATE")
    local dropped = 0
    for _, sink in ipairs(ask("GET", "/status").sinks) do
      dropped = dropped + sink.dropped
    end
    assert.equal(10, dropped)
  end)

  it("goes also where the log alone has it, with one marker for each gap", function()
    start {
      script = [[require "tidegate".configure {
        event_handler = { markers = true }, queue = { memory_bytes = 65536 } }]],
    }
    local guild = s.fake:guilds()[1].id
    s.fake:emit { count = 100, guild = guild, size = 2000 }
    s.fake:wait_emitted()
    typing(50)
    s.fake:emit { count = 100, guild = guild, size = 2000 }
    s.fake:wait_emitted()
    wait_waiting(250)
    local _, on_disk = types()
    assert.is_true(on_disk > 100, on_disk)
    assert.equal(50, discard { type = "TYPING_START" })
    wait_waiting(200)
    s.bot:up()
    s:wait_delivered(20000)
    assert.equal(0, #s.bot:select "TYPING_START")
    local gaps = {}
    for _, event in ipairs(s.bot.events) do
      if event.gap then
        gaps[#gaps + 1] = { event.gap.count, event.gap.reason, event.gap.to - event.gap.from + 1 }
      end
    end
    assert.same({ { 50, "overflow", 50 } }, gaps)
  end)

  it("is read in pieces where the log is long", function()
    start { script = [[require "tidegate".configure { queue = { memory_bytes = 1048576 } }]] }
    for _ = 1, 3 do
      s.fake:emit { count = 50, shard = 0, size = 100000 }
      s.fake:wait_emitted()
      typing(5)
    end
    wait_waiting(165)
    assert.equal(15, discard { type = "TYPING_START" })
    wait_waiting(150)
    s.bot:up()
    s:wait_delivered(30000)
    assert.equal(0, #s.bot:select "TYPING_START")
  end)

  it("goes as a whole, is of a sink, and is not asked for by a slip", function()
    start {
      sinks = { audit = {} },
      script = function(scene_)
        return ([[require "tidegate".configure { sinks = { audit = { url = %q, authorization = %q } } }]])
          :format(scene_.sinks.audit.url, scene_.sinks.audit.authorization)
      end,
    }
    s.sinks.audit:down()
    s.fake:emit { count = 40 }
    wait_waiting(40)
    local of_audit = discard { sink = "audit", all = true }
    assert.is_true(of_audit >= 39, of_audit)
    assert.same({ MESSAGE_CREATE = 40 }, (types()))
    assert.matches("which events", ask("POST", "/queue/discard", { sink = "bot" }, 400).error)
    assert.matches('no "shrad"', ask("POST", "/queue/discard", { shrad = 1 }, 400).error)
    assert.matches("shard has to be", ask("POST", "/queue/discard", { shard = -1 }, 400).error)
    assert.matches("type has to be", ask("POST", "/queue/discard", { type = "x y" }, 400).error)
    assert.equal("no_sink", ask("POST", "/queue/discard", { sink = "x", all = true }, 404).code)
    assert.equal("no_sink", ask("GET", "/queue/types?sink=x", nil, 404).code)
    assert.equal(400, s.gateway:control("GET", "/queue/types?x=1").status)
    s.sinks.audit:up()
    s.bot:up()
    s:wait_delivered(20000)
  end)
end)
