-- Commands to Discord over the control API: which shard sends them, when, in which order, and what their
-- caller hears.

local cjson = require "cjson"
local loop = require "spec.support.loop"
local raw_client = require "spec.support.raw_client"
local scene = require "spec.support.scene"
local uv = require "luv"

local MEMBERS_INTENT = 33281 + 2
local WAITS = { fake = { max_concurrency = 4 }, shards = 2, per_worker = 1, workers = 2, bot = false }

describe("commands over the control API", function()
  local s

  after_each(function()
    raw_client.cleanup()
    scene.stop()
  end)

  local function start(options)
    local all = {}
    for name, value in pairs(WAITS) do all[name] = value end
    for name, value in pairs(options or {}) do all[name] = value end
    s = scene.start(all)
    return s
  end

  local function post(path, body, options)
    options = options or {}
    options.json = body
    local answer = s.gateway:control("POST", path, options)
    return answer.status, answer:json()
  end

  local function sounds(id)
    return { op = 31, d = { guild_ids = { tostring(id) } } }
  end

  local function commands(n)
    return s.fake:wait_for(n .. " commands", function(state)
      return #state.commands >= n and state.commands
    end, { only = "commands" })
  end

  -- Several at once, each on a connection of its own. Returns a table of clients.
  local function post_all(list)
    local clients = {}
    for i, item in ipairs(list) do
      local body = cjson.encode(item[2])
      clients[i] = raw_client.connect(s.gateway:control_url())
      clients[i]:write(("POST %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"):format(
        item[1], #body, body))
    end
    return clients
  end

  local function outcome(client)
    local text = client:wait_closed(40000)
    local status, body = text:match "^HTTP/1.1 (%d+) .-\r\n\r\n(.*)$"
    return tonumber(status), cjson.decode(body)
  end

  local function resuming(shard, delay)
    s.fake:fault { at = "resume", ["do"] = "delay", ms = delay, shard = shard }
    s.fake:fault { ["do"] = "close", code = 4000, shard = shard }
    s.gateway:wait_for_log(("shard %d: [^\n]*4000"):format(shard))
  end

  it("reach the shard, or all of them", function()
    start()
    assert.same({ 200, { sent = true } }, { post("/shards/1/payload", sounds(7)) })
    local status, body = post("/payload", { op = 3, d = { since = cjson.null, status = "idle", afk = false,
      activities = { { name = "tide", type = 3 } } } })
    assert.same({ 200, 2, 0 }, { status, body.sent, body.failed })
    table.sort(body.results, function(a, b) return a.shardId < b.shardId end)
    assert.same({ { shardId = 0, sent = true }, { shardId = 1, sent = true } }, body.results)
    local sent = commands(3)
    assert.same({ 1, 31, "7" }, { sent[1].shard, sent[1].op, sent[1].d.guild_ids[1] })
    assert.same({ 3, 3, "idle" }, { sent[2].op, sent[3].op, sent[2].d.status })
    assert.not_equal(sent[2].shard, sent[3].shard)
    assert.same({}, s:list "violations")
  end)

  it("reach the shard of a guild, which fills in the guild", function()
    start()
    local guild = s.fake:guilds(1)[1].id
    local path = "/guilds/" .. guild .. "/payload"
    assert.equal(200, (post(path, { op = 8, d = { query = "", limit = 1 } })))
    assert.equal(200, (post(path, { op = 4, d = { guild_id = guild, channel_id = cjson.null,
      self_mute = false, self_deaf = false } })))
    assert.equal(200, (post(path, sounds(guild))))
    for i, command in ipairs(commands(3)) do
      assert.same({ 1, ({ 8, 4, 31 })[i] }, { command.shard, command.op })
      assert.equal(i < 3 and guild or nil, command.d.guild_id)
    end
    assert.same({}, s:list "violations")
  end)

  it("that cannot be right are refused, each with its reason", function()
    start()
    local ids = {}
    for i = 1, 400 do ids[i] = tostring(4194304 * i) end
    for _, case in ipairs {
      { "/shards/0/payload", { op = 31, d = { guild_ids = ids } }, 400, "too_large", "4096" },
      { "/payload", { op = 31, d = { guild_ids = ids } }, 400, "too_large", "4096" },
      { "/shards/0/payload", { op = 2, d = { token = "x" } }, 400, "bad_payload", "by itself" },
      { "/shards/0/payload", { op = 6, d = {} }, 400, "bad_payload", "by itself" },
      { "/shards/0/payload", { op = 1, d = 5 }, 400, "bad_payload", "by itself" },
      { "/shards/0/payload", { op = 0, d = {} }, 400, "bad_payload", "3, 4, 8, 31" },
      { "/shards/0/payload", { d = {} }, 400, "bad_payload", "op" },
      { "/shards/0/payload", { op = 8 }, 400, "bad_payload", "d must be" },
      { "/shards/0/payload", { op = 8, d = { guild_id = "1" } }, 400, "bad_payload", "query" },
      { "/guilds/1/payload", { op = 8, d = { guild_id = "2", query = "", limit = 0 } }, 400, nil,
        "of the path" },
      { "/guilds/1/payload", { op = 31, d = { guild_ids = { "1" } }, join = true }, 400, nil, "join" },
      { "/guilds/1/payload", { op = 8, d = { query = "a", limit = 1 }, join = "yes" }, 400, nil, "join" },
      { "/shards/0/payload", { op = 8, d = { query = "a" }, join = true }, 400, nil, "/guilds" },
      { "/guilds/1/payload", { op = 8, d = { query = "", limit = 0 }, join = true }, 400, "bad_argument",
        "guild_members" },
      { "/guilds/1/payload", { op = 8, d = { querry = "a" }, join = true }, 400, "bad_argument", "query" },
      { "/guilds/abc/payload", sounds(1), 404, nil, "id of a guild" },
      { "/shards/7/payload", sounds(1), 404, "no_shard", "0 to 1" },
      { "/shards/x/payload", sounds(1), 404, nil, "number of a shard" },
      { "/shards/0/payload", { op = 31, d = { guild_ids = { "1" } }, timeot = 5 }, 400, nil, '"timeout"' },
      { "/shards/0/payload", { op = 31, d = { guild_ids = { "1" } }, timeout = 0 }, 400, "bad_argument",
        "timeout" },
      { "/shards/0/payload", { op = 31, d = { guild_ids = { "1" } }, priority = "urgent" }, 400,
        "bad_argument", "priority" },
    } do
      local status, body = post(case[1], case[2])
      local what = case[1] .. " " .. cjson.encode(case[2]):sub(1, 100)
      assert.same({ case[3], case[4] }, { status, body.code }, what)
      assert.matches(case[5], body.error, 1, true)
    end
    assert.same({}, s:list "commands")
    assert.same({}, s:list "violations")
  end)

  it("wait until the shard is back, but no longer than they may", function()
    start()
    resuming(1, 1000)
    local clients = post_all {
      { "/shards/1/payload", { op = 31, d = { guild_ids = { "1" } }, timeout = 100 } },
      { "/shards/1/payload", sounds(2) },
      { "/shards/0/payload", sounds(3) },
    }
    local status, body = outcome(clients[1])
    assert.same({ 504, "timeout" }, { status, body.code })
    assert.matches("shard 1 could not send op 31 in time: it is %u%a+", body.error)
    assert.same({ 200, 200 }, { (outcome(clients[3])), (outcome(clients[2])) })
    local sent = commands(2)
    assert.same({ "3", "2" }, { sent[1].d.guild_ids[1], sent[2].d.guild_ids[1] })
  end)

  it("go to all shards that can; of the others the reason is told", function()
    start()
    resuming(1, 60000)
    local _, body = post("/payload", { op = 31, d = { guild_ids = { "1" } }, timeout = 300 })
    assert.same({ 1, 1 }, { body.sent, body.failed })
    for _, result in ipairs(body.results) do
      if result.shardId == 1 then
        assert.same({ false, "timeout" }, { result.sent, result.code })
        assert.is_string(result.error)
      else
        assert.same({ shardId = 0, sent = true }, result)
      end
    end
  end)

  it("go by priority when the send budget is scarce", function()
    start { shards = 1, workers = 1, script = [[
local gateway = require "tidegate"
function gateway.shard:is_open() return gateway.state.open == true end -- held back until all are there
gateway.on("TYPING_START", function() gateway.state.open = true end)
]], reload = false }
    local list = {}
    for i, priority in ipairs { "low", "normal", "high", "low", "normal", "high" } do
      list[i] = { "/shards/0/payload", { op = 31, d = { guild_ids = { tostring(i) } }, priority = priority } }
    end
    local clients = {}
    for i, item in ipairs(list) do -- one after the other: they come in this order
      clients[i] = post_all({ item })[1]
      assert.equal(200, s.gateway:control("GET", "/healthz").status)
    end
    s:type()
    for _, client in ipairs(clients) do
      assert.equal(200, (outcome(client)))
    end
    local order = {}
    for i, command in ipairs(commands(6)) do
      order[i] = command.d.guild_ids[1]
    end
    assert.same({ "3", "6", "2", "5", "1", "4" }, order)
  end)

  it("say when there is no budget in time", function()
    start { script = [[
local gateway = require "tidegate"
function gateway.shard:calculate_safe_requests() return 1 end
]] }
    assert.equal(200, (post("/shards/1/payload", sounds(1))))
    local status, body = post("/shards/1/payload", { op = 31, d = { guild_ids = { "2" } }, timeout = 200 })
    assert.same({ 504, "timeout" }, { status, body.code })
    assert.matches("send budget", body.error)
  end)

  it("that change the presence too often: the newest goes out, those in between hear of it", function()
    start { shards = 1, workers = 1 }
    local function presence(name)
      return { op = 3, d = { since = cjson.null, afk = false, status = "online",
        activities = { { name = name, type = 0 } } } }
    end
    for i = 1, 5 do
      assert.equal(200, (post("/shards/0/payload", presence("number " .. i))))
    end
    local clients = post_all { { "/shards/0/payload", presence "number 6" } }
    assert.equal(200, s.gateway:control("GET", "/healthz").status)
    post_all { { "/shards/0/payload", presence "number 7" } }
    local status, body = outcome(clients[1])
    assert.same({ 409, "replaced" }, { status, body.code })
    assert.equal(5, #commands(5))
    assert.same({}, s:list "violations")
  end)

  it("survive the death of their worker", function()
    start()
    local workers = s.gateway:control("GET", "/status"):json().workers
    resuming(1, 1500)
    local list = {}
    for i = 1, 5 do
      list[i] = { "/shards/1/payload", sounds(i) }
    end
    local clients = post_all(list)
    assert.equal(200, s.gateway:control("GET", "/healthz").status)
    uv.kill(workers[2].pid, "sigkill")
    s.gateway:wait_for_log "a worker has ended[^\n]* worker=1"
    assert.same({ 200, { sent = true } }, { post("/shards/1/payload", sounds(6)) }) -- while there is none
    for _, client in ipairs(clients) do
      assert.equal(200, (outcome(client)))
    end
    local seen = {}
    for _, command in ipairs(commands(6)) do
      assert.equal(1, command.shard)
      seen[command.d.guild_ids[1]] = true
    end
    for i = 1, 6 do
      assert.is_true(seen[tostring(i)], "number " .. i)
    end
  end)

  it("hear that their worker does not come back in time, or that the gateway stops", function()
    start { script = [[
local gateway = require "tidegate"
function gateway.manager:handle_worker_exit() return true end
]], reload = false }
    uv.kill(s.gateway:control("GET", "/status"):json().workers[2].pid, "sigkill")
    s.gateway:wait_for_log "a worker has ended[^\n]* worker=1"
    local status, body = post("/shards/1/payload", { op = 31, d = { guild_ids = { "1" } }, timeout = 300 })
    assert.same({ 504, "timeout" }, { status, body.code })
    assert.matches("its worker 1 is not up", body.error)
    local client = post_all({ { "/shards/1/payload", sounds(1) } })[1]
    assert.equal(200, s.gateway:control("GET", "/healthz").status)
    assert.equal(0, (s.gateway:stop()))
    status, body = outcome(client)
    assert.same({ 503, "stopping" }, { status, body.code })
  end)

  it("go the way of the script", function()
    start { script = [[
local gateway = require "tidegate"
local send = gateway.manager.send_payload
function gateway.manager:send_payload(shard_id, payload, options)
  if payload.d.guild_ids[1] == "13" then return nil, { code = "refused", message = "not that one" } end
  payload.d.guild_ids[1] = payload.d.guild_ids[1] .. "00"
  return send(self, 1 - shard_id, payload, options)
end
]], reload = false }
    assert.equal(200, (post("/shards/0/payload", sounds(5))))
    local sent = commands(1)
    assert.same({ 1, "500" }, { sent[1].shard, sent[1].d.guild_ids[1] })
    local status, body = post("/shards/0/payload", sounds(13))
    assert.same({ 409, "not that one" }, { status, body.error })
  end)

  describe("for members", function()
    it("answer with all chunks in one, when they are to be joined", function()
      start { intents = MEMBERS_INTENT, fake = { max_concurrency = 4, members = 2500 } }
      local path = "/guilds/" .. s.fake:guilds(1)[1].id .. "/payload"
      local status, body = post(path, { op = 8, d = { query = "", limit = 0 }, join = true },
        { timeout = 30000 })
      assert.same({ 200, 2500, {} }, { status, #body.members, body.notFound })
      assert.is_string(body.members[1].user.id)
      status, body = post(path, { op = 8, d = { user_ids = { "9", "8" } }, join = true })
      assert.same({ 200, {}, 2 }, { status, body.members, #body.notFound })
    end)

    it("answer when sent, and the bot gets the chunks, when they are not", function()
      start { intents = MEMBERS_INTENT, bot = { keep_bodies = true },
        fake = { max_concurrency = 4, members = 1200 } }
      local guild = s.fake:guilds(1)[1].id
      local status, body = post("/guilds/" .. guild .. "/payload",
        { op = 8, d = { query = "", limit = 0, nonce = "of the bot" } })
      assert.same({ 200, { sent = true } }, { status, body })
      local chunks = {}
      loop.wait_for("two chunks", function()
        chunks = {}
        for _, event in ipairs(s.bot.events) do
          if event.t == "GUILD_MEMBERS_CHUNK" then
            chunks[#chunks + 1] = event
          end
        end
        return #chunks == 2
      end)
      assert.same({ "of the bot", guild }, { chunks[1]:data().nonce, chunks[1]:data().guild_id })
    end)

    it("say when not all comes in time", function()
      start()
      local status, body = post("/guilds/4194304/payload",
        { op = 8, d = { query = "Sailor", limit = 1 }, join = true, timeout = 1000 })
      assert.same({ 504, "timeout" }, { status, body.code })
    end)
  end)

  it("are not open to whoever does not know the secret", function()
    start { env = { TIDEGATE_CONTROL_SECRET = "open sesame" } }
    assert.equal(401, (post("/shards/0/payload", sounds(1), { secret = "open" })))
    assert.equal(200, (post("/shards/0/payload", sounds(1))))
    assert.equal(1, #commands(1))
  end)
end)
