-- GET /live: who may look, what is shown, what it costs, the last hour and the last warnings; what else the
-- status page needs: its files, POST /shards/{id}/reconnect.

local http = require "spec.support.http"
local live = require "spec.support.live"
local loop = require "spec.support.loop"
local paths = require "spec.support.paths"
local prometheus = require "spec.support.prometheus"
local raw_client = require "spec.support.raw_client"
local scene = require "spec.support.scene"

local VIEWERS = 64

describe("the status page", function()
  local s

  after_each(function()
    raw_client.cleanup()
    scene.stop()
  end)

  local function start(options)
    options = options or {}
    options.shards = options.shards or 2
    options.reload = false -- generations and reloads are looked at
    options.fake = options.fake or { max_concurrency = options.shards }
    s = scene.start(options)
    return s
  end

  local function metric(name)
    return prometheus.parse(s.gateway:control("GET", "/metrics").body):value(name)
  end

  local function wait_viewers(n)
    local deadline = loop.now() + 10000 * paths.slow
    repeat
      if metric "tidegate_live_viewers" == n then
        return
      end
    until loop.now() > deadline
    error(("waited in vain for %d viewers"):format(n), 2)
  end

  -- Asks for the status until the predicate likes it.
  local function wait_status(what, predicate)
    local deadline, status = loop.now() + 10000 * paths.slow
    repeat
      status = s.gateway:control("GET", "/status"):json()
      if predicate(status) then
        return status
      end
    until loop.now() > deadline
    error("waited in vain for " .. what, 2)
  end

  describe("in a browser", function()
    local function get(path, headers)
      headers = headers or { Accept = "text/html" }
      return http.request("GET", s.gateway:control_url() .. path, { headers = headers })
    end

    it("is whole, small, and of one origin", function()
      start { bot = false }
      local page = get "/"
      assert.equal(200, page.status)
      assert.equal("text/html; charset=utf-8", page.headers["content-type"])
      local size, files = #page.body, { "icon.svg" }
      for name in page.body:gmatch 'page/([%w.]+)"' do
        files[#files + 1] = name
      end
      local seen = {}
      while #files > 0 do
        local name = table.remove(files)
        if not seen[name] then
          seen[name] = true
          local file = get("/page/" .. name)
          assert.equal(200, file.status, name)
          assert.not_matches("https?://[^w]", file.body, name)
          size = size + #file.body
          for other in file.body:gmatch 'from "%./([%w.]+)"' do
            files[#files + 1] = other
          end
        end
      end
      assert.is_true(seen["main.js"] and seen["stream.js"] and seen["style.css"])
      assert.is_true(size < 150000, ("it has %d bytes"):format(size))
      assert.equal("text/javascript; charset=utf-8", get("/page/main.js").headers["content-type"])
      assert.equal("text/css; charset=utf-8", get("/page/style.css").headers["content-type"])
      assert.equal("image/svg+xml", get("/page/icon.svg").headers["content-type"])
      for _, path in ipairs { "/page/other.js", "/page/..", "/page/", "/page/%2e%2e", "/page/web/main.js" } do
        assert.equal(404, get(path).status, path)
      end
    end)

    it("may run and ask nothing but its own", function()
      start { bot = false }
      for _, path in ipairs { "/", "/page/main.js", "/page/style.css" } do
        local headers = get(path).headers
        local policy = {}
        for name, value in headers["content-security-policy"]:gmatch "([%l-]+) ([^;]+)" do
          policy[name] = value
        end
        assert.same({
          ["default-src"] = "'none'", ["script-src"] = "'self'", ["style-src"] = "'self'",
          ["img-src"] = "'self'", ["connect-src"] = "'self'", ["base-uri"] = "'none'",
          ["form-action"] = "'none'",
          ["frame-ancestors"] = "'none'", ["require-trusted-types-for"] = "'script'",
          ["trusted-types"] = "'none'",
        }, policy)
        assert.equal("nosniff", headers["x-content-type-options"])
        assert.equal("DENY", headers["x-frame-options"])
        assert.equal("no-referrer", headers["referrer-policy"])
        assert.equal("same-origin", headers["cross-origin-resource-policy"])
      end
      assert.not_matches("<script[^>]*>[^<]", get("/").body)
      assert.not_matches("<style", get("/").body)
      assert.not_matches(" on%l+=", get("/").body)
      assert.not_matches(" style=", get("/").body)
    end)

    it("is not for programs", function()
      start { bot = false }
      for _, accept in ipairs { "*/*", "application/json" } do
        local answer = get("/", { Accept = accept })
        assert.equal(406, answer.status)
        assert.matches("GET /status", answer:json().error, 1, true)
      end
      assert.equal(406, get("/", {}).status)
      assert.equal(200, s.gateway:control("HEAD", "/", { headers = { Accept = "text/html,*/*" } }).status)
    end)

    it("comes without the secret, says that there is one, and shows nothing without", function()
      start { bot = false, env = { TIDEGATE_CONTROL_SECRET = "open sesame" } }
      local page = get("/", { Accept = "text/html", Host = "gateway.example" })
      assert.equal(200, page.status)
      assert.matches('data%-secret="yes"', page.body)
      assert.not_matches("sesame", page.body)
      assert.equal(200, get("/page/main.js").status)
      assert.equal(401, live.open(s.gateway).status)
      assert.equal(401, live.open(s.gateway, { headers = { Authorization = "sesame" } }).status)
      assert.equal(401, s.gateway:control("POST", "/shards/0/reconnect", { secret = false }).status)
      live.open(s.gateway, { headers = { Authorization = "open sesame" } }):wait("a snapshot", "snapshot")
    end)
  end)

  it("shows what the status and the shards say", function()
    start { workers = 2, per_worker = 1, script = [[
      local gateway = require "tidegate"
      gateway.filter("TYPING_START", false)
    ]] }
    s.fake:emit { count = 10, shard = 1 }
    s:type("1", 0)
    s:wait_delivered()
    local viewer = live.open(s.gateway)
    assert.equal("text/event-stream", viewer.head:match "Content%-Type: ([^\r]+)")
    local snapshot = viewer:wait("the counts", "snapshot", function(data)
      return data.events.TYPING_START and data.events.MESSAGE_CREATE and data.events.MESSAGE_CREATE[3] == 10
        and data.status.sinks[1].delivered == #s.bot.events
    end)
    local status = s.gateway:control("GET", "/status"):json()
    local shards = s.gateway:control("GET", "/shards"):json()
    for _, name in ipairs {
      "version", "generation", "pid", "phase", "ready", "shards", "guilds", "intents", "leftSinks",
    } do
      assert.same(status[name], snapshot.status[name], name)
    end
    assert.equal(status.sinks[1].delivered, snapshot.status.sinks[1].delivered)
    assert.equal(status.handlers[1].url, snapshot.status.handlers[1].url)
    assert.same({ 2, 2 }, { snapshot.sets[1].total, #snapshot.sets[1].shards })
    for i, shard in ipairs(shards) do
      local row = live.shard(snapshot, i)
      for _, name in ipairs { "shardId", "workerId", "state", "rtt", "queued" } do
        assert.equal(shard[name], row[name], name)
      end
      assert.is_nil(row.sessionId)
    end
    local metrics = prometheus.parse(s.gateway:control("GET", "/metrics").body)
    for place, name in ipairs { "received", "filtered", "delivered" } do
      for _, type in ipairs { "TYPING_START", "MESSAGE_CREATE" } do
        assert.equal(metrics:value(("tidegate_events_%s_total"):format(name), { type = type }),
          snapshot.events[type][place], type .. " " .. name)
      end
    end
    local names = {}
    for _, process in ipairs(snapshot.processes) do
      names[#names + 1] = tostring(process.worker)
      assert.is_true(process.memory > 0)
    end
    assert.same({ "manager", "0", "1" }, names)
  end)

  it("shows no session, whoever looks", function()
    start { bot = false, env = { TIDEGATE_CONTROL_SECRET = "open sesame" } }
    local session = s.gateway:control("GET", "/shards"):json()[1].sessionId
    assert.is_string(session)
    local viewer = live.open(s.gateway, { headers = { Authorization = "open sesame" } })
    viewer:wait("a snapshot", "snapshot")
    assert.is_nil(viewer.client.received:find(session, 1, true))
  end)

  it("makes one snapshot for all who look, and none while nobody does", function()
    start { bot = false }
    assert.equal(0, metric "tidegate_live_snapshots_total")
    local one, other = live.open(s.gateway), live.open(s.gateway)
    one:wait("a snapshot", "snapshot")
    one:wait("a second one", "snapshot")
    local third = one:wait("a third one", "snapshot")
    other:wait("the same", "snapshot", function(data) return data.at == third.at end)
    assert.equal(2, metric "tidegate_live_viewers")
    assert.equal(3, metric "tidegate_live_snapshots_total")
    one:close()
    other:close()
    wait_viewers(0)
    local made = metric "tidegate_live_snapshots_total"
    local uptime = s.gateway:control("GET", "/status"):json().uptime
    wait_status("some seconds", function(status) return status.uptime >= uptime + 2500 end)
    assert.equal(made, metric "tidegate_live_snapshots_total")
    live.open(s.gateway):wait("a snapshot, at once", "snapshot")
  end)

  it("makes no more for those who come and go", function()
    start { bot = false }
    local began = loop.now()
    for _ = 1, 50 do
      local viewer = live.open(s.gateway)
      viewer:wait("a snapshot", "snapshot")
      viewer:close()
    end
    local seconds = (loop.now() - began) / 1000
    assert.is_true(metric "tidegate_live_snapshots_total" <= seconds + 2)
  end)

  it("is for 64 at a time", function()
    start { bot = false }
    local viewers = {}
    for i = 1, VIEWERS do
      viewers[i] = live.open(s.gateway)
      assert.equal(200, viewers[i].status)
    end
    local late = live.open(s.gateway)
    assert.equal(503, late.status)
    assert.matches("Retry%-After: 5", late.head)
    assert.matches("64 viewers", late.client:wait_for "crowded")
    assert.equal(200, s.gateway:control("GET", "/status").status)
    viewers[10]:close()
    wait_viewers(VIEWERS - 1)
    assert.equal(200, live.open(s.gateway).status)
    viewers[VIEWERS]:wait("a snapshot", "snapshot")
  end)

  it("lets go of all when the gateway ends", function()
    start { bot = false }
    local viewer = live.open(s.gateway)
    viewer:wait("a snapshot", "snapshot")
    assert.equal(0, s.gateway:stop())
    viewer.client:wait_closed()
  end)

  it("has the last hour, a point every ten seconds, and then each new one", function()
    start { hurry = 20 }
    local viewer = live.open(s.gateway)
    local history = viewer:wait("the last hour", "history")
    assert.equal(500, history.every)
    local column = {}
    for i, name in ipairs(history.columns) do
      column[name] = i
    end
    s.fake:emit { count = 20, shard = 0 }
    local new = viewer:wait("a point with the events", "point", function(data)
      return data.points[#data.points][column.delivered] >= 20
    end).points
    local point = new[#new]
    assert.same({ 2, 2 }, { point[column.up], point[column.shards] })
    assert.is_true(point[column.memory] > 0 and point[column.cpu] > 0)
    assert.is_true(point[column.received] >= 20)
    -- Whoever comes later has what the first one has put together.
    local all = live.open(s.gateway):wait("the last hour", "history").points
    viewer:wait("a snapshot more", "snapshot")
    local together = history.points
    for _, more in ipairs(viewer:all "point") do
      for _, each in ipairs(more.points) do
        together[#together + 1] = each
      end
    end
    assert.equal(1, #viewer:all "history")
    assert.is_true(#all > 2)
    for i = 1, math.min(#all, #together) do
      assert.same(all[i], together[i])
    end
  end)

  describe("with the last warnings", function()
    it("of all processes, without secrets, newest first", function()
      start { bot = false, env = { TIDEGATE_CONTROL_SECRET = "open sesame" }, script = [[
        local gateway = require "tidegate"
        if gateway.role == "worker" then
          gateway.on("MESSAGE_CREATE", function(event) gateway.log.warn("a message: open sesame") end)
        end
      ]] }
      local viewer = live.open(s.gateway, { headers = { Authorization = "open sesame" } })
      assert.is_table(viewer:wait("the warnings", "warnings"))
      assert.equal(401, s.gateway:control("GET", "/status", { secret = false }).status)
      viewer:wait("what the manager warns of", "warnings", function(warnings)
        return warnings[1].text:find "no or a wrong secret" and warnings[1].level == "warn"
          and warnings[1].at > 1.7e12
      end)
      s.fake:emit { count = 1, shard = 1 }
      local warnings = viewer:wait("what a worker warns of", "warnings", function(list)
        return list[1].worker == 0
      end)
      assert.matches("a message: %*%*%*", warnings[1].text)
      assert.matches("no or a wrong secret", warnings[2].text)
      -- A process that is dead has said what it has said.
      s.gateway.process.kill({ pid = s.gateway:worker_pids()[1] }, "SIGKILL")
      s:wait_counter("resumes_ok", 2)
      local after = viewer:wait("the death, too", "warnings", function(list)
        return list[1].worker ~= 0
      end)
      local kept = false
      for _, warning in ipairs(after) do
        kept = kept or warning.text:find "a message: %*%*%*" ~= nil
      end
      assert.is_true(kept)
      assert.is_nil(viewer.client.received:find("open sesame", 1, true))
    end)

    it("no more than a hundred", function()
      start { bot = false, script = [[
        local gateway = require "tidegate"
        if gateway.role == "manager" then
          for i = 1, 130 do gateway.log.warn("warning " .. i) end
        end
      ]] }
      local warnings = live.open(s.gateway):wait("the warnings", "warnings")
      assert.equal(100, #warnings)
      local last
      for _, warning in ipairs(warnings) do
        local n = tonumber(warning.text:match "^warning (%d+)")
        if n then
          assert.equal((last or 131) - 1, n)
          last = n
        end
      end
      assert.is_true(last > 30)
    end)
  end)

  it("shows why the last reload failed, without secrets, until one takes effect", function()
    start { bot = false, env = { TIDEGATE_CONTROL_SECRET = "open sesame" }, script = "\n" }
    local reloads = s.gateway:control("GET", "/status"):json().reloads
    assert.same({ 0, 0 }, { reloads.done, reloads.failed })
    paths.write(s.gateway.script, '\n\nerror("no word is open sesame")\n')
    assert.equal(422, s.gateway:control("POST", "/reload").status)
    reloads = s.gateway:control("GET", "/status"):json().reloads
    assert.same({ 0, 1, "failed" }, { reloads.done, reloads.failed, reloads.last.result })
    assert.matches("script.lua:3: no word is %*%*%*", reloads.last.problem)
    assert.matches("stack traceback", reloads.last.problem)
    paths.write(s.gateway.script, "\n")
    assert.equal(200, s.gateway:control("POST", "/reload").status)
    reloads = s.gateway:control("GET", "/status"):json().reloads
    assert.same({ 1, 1, "done" }, { reloads.done, reloads.failed, reloads.last.result })
    assert.equal("userdata", type(reloads.last.problem)) -- null
  end)

  describe("reconnects a shard", function()
    it("which resumes", function()
      start()
      s.fake:emit { count = 5, shard = 1 }
      s:wait_delivered()
      local before = s:counters()
      local answer = s.gateway:control("POST", "/shards/1/reconnect")
      assert.same({ 202, true }, { answer.status, answer:json().reconnecting })
      s:wait_counter("resumes_ok", before.resumes_ok + 1)
      wait_status("both shards", function(status) return status.ready end)
      s.fake:emit { count = 5, shard = 1 }
      s:wait_delivered()
      local counters = s:counters()
      assert.equal(before.identifies, counters.identifies)
      assert.equal(before.resumes_ok + 1, counters.resumes_ok)
      assert.equal(0, counters.violations)
      assert.equal(1, s:list("resumes")[1].shard)
    end)

    it("but not one that would have to identify, or is on its way", function()
      start()
      s.fake:fault { at = "resume", ["do"] = "delay", ms = 60000, shard = 0 }
      s.fake:fault { ["do"] = "close", code = 4000, shard = 0 }
      wait_status("a shard that resumes", function(status) return status.shards.states.Resuming == 1 end)
      assert.equal(202, s.gateway:control("POST", "/shards/0/reconnect").status)
      assert.equal(1, s:counters().resumes)
      assert.equal(2, s:counters().identifies)
    end)

    it("and says what it cannot", function()
      start { script = [[
        local gateway = require "tidegate"
        if gateway.role == "manager" then
          gateway.on("ready", function() end)
        end
      ]] }
      for path, status in pairs { ["7"] = 404, ["x"] = 404, ["-1"] = 404, ["123456"] = 404, ["1.0"] = 404 } do
        assert.equal(status, s.gateway:control("POST", ("/shards/%s/reconnect"):format(path)).status, path)
      end
      local said = s.gateway:control("POST", "/shards/7/reconnect"):json().error
      assert.matches("which has those of 0 to 1", said, 1, true)
      assert.equal(405, s.gateway:control("GET", "/shards/1/reconnect").status)
    end)
  end)
end)
