-- Commands to a bot of several hosts: whichever host is asked, the one that has the shard does it, once.

local cjson = require "cjson"
local cluster_host = require "spec.support.cluster_host"
local raw_client = require "spec.support.raw_client"
local trial = require "spec.support.cluster_trial"

local SHARDS = 4
local INTENTS = 33281 + 2 -- and members
local PIECE = 1024 * 1024

describe("commands in a cluster", function()
  local t

  setup(function()
    t = trial.start {
      hosts = 2, shards = SHARDS, rate = 40, proxies = true, intents = INTENTS,
      fake = { members = 6000 },
    }
  end)
  after_each(raw_client.cleanup)
  teardown(trial.stop)

  local function post(host, path, body, timeout)
    local answer = host.gateway:control("POST", path, { json = body, timeout = timeout or 20000 })
    return answer.status, answer:json()
  end

  -- Which op 31 that is, by the guild that it asks for.
  local function sounds(id, timeout)
    return { op = 31, d = { guild_ids = { tostring(id) } }, timeout = timeout }
  end

  -- {id -> shards that have sent it}
  local function sent()
    local ids = {}
    for _, command in ipairs(t:list "commands") do
      local id = command.op == 31 and command.d.guild_ids[1]
      if id then
        ids[id] = ids[id] or {}
        table.insert(ids[id], command.shard)
      end
    end
    return ids
  end

  -- A shard of that host, and the host that is not it.
  local function one_of(host)
    return host:shards()[1], host == t.hosts[1] and t.hosts[2] or t.hosts[1]
  end

  -- One after the other on connections of their own; the answers are read later.
  local function post_unread(host, path, body)
    local text = cjson.encode(body)
    local client = raw_client.connect(host.gateway:control_url())
    client:write(("POST %s HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"):format(path, #text,
      text))
    return client
  end

  local function outcome(client)
    local text = client:wait_closed(60000)
    local status, body = text:match "^HTTP/1.1 (%d+) .-\r\n\r\n(.*)$"
    return tonumber(status), cjson.decode(body)
  end

  it("reach each shard from each host", function()
    for i, host in ipairs(t.hosts) do
      for shard = 0, SHARDS - 1 do
        local path = ("/shards/%d/payload"):format(shard)
        assert.same({ 200, { sent = true } }, { post(host, path, sounds(i * 100 + shard)) })
      end
      local status, body = post(host, "/payload", sounds(i * 1000))
      assert.same({ 200, SHARDS, 0 }, { status, body.sent, body.failed })
    end
    local by_id = sent()
    for i = 1, #t.hosts do
      for shard = 0, SHARDS - 1 do
        assert.same({ shard }, by_id[tostring(i * 100 + shard)])
      end
      local all = by_id[tostring(i * 1000)]
      table.sort(all)
      assert.same({ 0, 1, 2, 3 }, all)
    end
  end)

  it("are refused by who has the shard, in the same words", function()
    local shard, other = one_of(t.hosts[1])
    local status, body = post(other, ("/shards/%d/payload"):format(shard), { op = 8, d = { guild_id = "1",
      query = "", limit = 0, user_ids = { "1" } } })
    assert.same({ 400, "bad_payload" }, { status, body.code })
    status, body = post(other, ("/shards/%d/payload"):format(SHARDS), sounds(1))
    assert.same({ 404, "no_shard" }, { status, body.code })
  end)

  it("reach guilds, and members come back, however many", function()
    for _, host in ipairs(t.hosts) do
      local shard, other = one_of(host)
      local guild = t.fake:guilds(shard)[1].id
      local path = ("/guilds/%s/payload"):format(guild)
      assert.equal(200, (post(other, path, { op = 4, d = { channel_id = cjson.null, self_mute = false,
        self_deaf = false } })))
      local answer = other.gateway:control("POST", path,
        { json = { op = 8, d = { query = "", limit = 0 }, join = true }, timeout = 30000 })
      local body = answer:json()
      assert.same({ 200, 6000 }, { answer.status, body.members and #body.members })
      assert.is_true(#answer.body > PIECE) -- it came in parts
      local info = other.gateway:control("POST", "/", { json = { type = "ShardInfoFromGuild",
        guildId = guild } }):json()
      assert.same({ shard, "number" }, { info.shardId, type(info.rtt) })
      local of_host = other.gateway:control("POST", "/", { json = { type = "GET_SHARD_INFO" } }):json()
      assert.equal(#other:shards(), #of_host)
    end
  end)

  -- What op 3 of a shard has said last.
  local function status_of(shard)
    local status
    for _, command in ipairs(t:list "commands") do
      status = command.op == 3 and command.shard == shard and command.d.status or status
    end
    return status
  end

  local function await_status(shards, status)
    t:await(("presence %q of %d shards"):format(status, #shards), function()
      for _, shard in ipairs(shards) do
        if status_of(shard) ~= status then
          return false
        end
      end
      return true
    end)
  end

  it("that set presences are heard by all hosts, and hold for sessions to come", function()
    assert.equal(200, (post(t.hosts[1], "/", { type = "EditShardsPresence",
      payload = { status = "idle", activities = {}, afk = false, since = cjson.null } })))
    await_status({ 0, 1, 2, 3 }, "idle")
    local shard = t.hosts[2]:shards()[1]
    t.fake:fault { ["do"] = "invalid_session", shard = shard, resumable = false } -- its session is lost
    local identify = t:await("the identify of shard " .. shard, function()
      local list = t:list "identifies"
      return #list > SHARDS and list[#list]
    end, 60000)
    assert.same({ shard, "idle" }, { identify.shard, identify.presence.status })
    t:await_up(60000)
  end)

  it("say that Redis is away, and go to this host's shards meanwhile", function()
    local own, other = one_of(t.hosts[1])
    local theirs = other:shards()[1]
    t.hosts[1].proxy:cut()
    t.hosts[1].gateway:wait_for_log "the cluster's Redis is away"
    local status, body = post(t.hosts[1], ("/shards/%d/payload"):format(theirs), sounds(20001, 300))
    assert.same({ 503, "redis_away" }, { status, body.code })
    assert.matches("another host's, and the cluster's Redis", body.error)
    assert.same({ 200, { sent = true } },
      { post(t.hosts[1], ("/shards/%d/payload"):format(own), sounds(20002)) })
    local client = post_unread(t.hosts[1], ("/shards/%d/payload"):format(theirs), sounds(20003))
    t.hosts[1].proxy:heal()
    assert.same({ 200, { sent = true } }, { outcome(client) })
    local by_id = sent()
    assert.same({ nil, { own }, { theirs } }, { by_id["20001"], by_id["20002"], by_id["20003"] })
  end)

  it("wait for a shard whose host has died", function()
    local host, other = t.hosts[2], t.hosts[1]
    local shards = host:kill()
    local clients = {}
    for i, shard in ipairs(shards) do
      clients[i] = post_unread(other, ("/shards/%d/payload"):format(shard), sounds(30000 + shard))
    end
    for _, client in ipairs(clients) do
      assert.same({ 200, { sent = true } }, { outcome(client) })
    end
    local by_id = sent()
    for _, shard in ipairs(shards) do
      assert.same({ shard }, by_id[tostring(30000 + shard)])
    end
  end)

  -- The host comes back, which moves shards: whoever is asked, and whenever, it is done once.
  it("are done once while shards move", function()
    local host, other, clients = t.hosts[2], t.hosts[1], {}
    host:again()
    host.gateway:wait_for_log "in touch with the cluster's Redis"
    local function send(to)
      local id = 40000 + #clients
      local path = ("/shards/%d/payload"):format(id % SHARDS)
      clients[#clients + 1] = post_unread(to, path, sounds(id))
    end
    t:await("the shares to be even", function()
      for _ = 1, SHARDS do
        send(other)
      end
      return #host:shards() == SHARDS / 2
    end, 60000)
    t:await_up()
    for _ = 1, SHARDS do
      send(other)
      send(host)
    end
    for _, client in ipairs(clients) do
      assert.same({ 200, { sent = true } }, { outcome(client) })
    end
    local by_id = sent()
    for i = 1, #clients do
      local id = 40000 + i - 1
      assert.same({ id % SHARDS }, by_id[tostring(id)])
    end
    await_status(host:shards(), "idle") -- which the host has read, when it came
  end)

  it("leave nothing in Redis", function()
    for _, host in ipairs(t.hosts) do
      local key = ("%scmd:%s"):format(cluster_host.KEY, host.name)
      t:await("what was read to be trimmed", function()
        return t.redis:command("XLEN", key) <= 1
      end)
    end
  end)
end)
