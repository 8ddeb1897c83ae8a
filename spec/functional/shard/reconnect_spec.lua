-- Reconnect (op 7) and Invalid Session (op 9) in each state, resume URLs that lead nowhere, sessions that
-- cannot be resumed, replay, and what a hundred reconnects leave behind.

local paths = require "spec.support.paths"
local process = require "spec.support.process"
local trial = require "spec.support.fault_trial"
local uv = require "luv"

describe("a shard", function()
  local t

  setup(function() t = trial.start() end)
  teardown(trial.stop)

  local function fault(what)
    t.fake:fault(what)
  end

  local function cut()
    fault { ["do"] = "rst" }
  end

  describe("that is told to reconnect (op 7)", function()
    it("when READY resumes at once, and keeps the session by its close code", function()
      local log = t:survives({ resumes = 1, attempts = 1, connections = 1 }, function()
        fault { ["do"] = "reconnect" }
      end)
      assert.matches("Discord asks for a reconnect delay=0\n", log)
      local close = t:last_close()
      assert.same({ "client", 4000 }, { close.by, close.code })
    end)

    it("while it resumes, resumes again", function()
      t:survives({ resumes = 2, connections = 2 }, function()
        fault { at = "resume", ["do"] = "reconnect" }
        cut()
      end)
    end)

    it("three times while it resumes, keeps the session", function()
      t:survives({ resumes = 4, connections = 4 }, function()
        fault { at = "resume", ["do"] = "reconnect", count = 3 }
        cut()
      end)
    end)

    it("in place of HELLO, resumes with another connection", function()
      t:survives({ resumes = 1, attempts = 1, connections = 2 }, function()
        fault { at = "hello", ["do"] = "reconnect" }
        cut()
      end)
    end)

    it("just before HELLO, resumes with another connection", function()
      t:survives({ resumes = 1, attempts = 1, connections = 2 }, function()
        fault { at = "hello", ["do"] = "reconnect", ["then"] = "continue" }
        cut()
      end)
    end)

    it("while it identifies, identifies again", function()
      t:survives({ identifies = 2, attempts = 0, connections = 2 }, function()
        fault { at = "identify", ["do"] = "reconnect" }
        fault { ["do"] = "close", code = 4006 }
      end)
    end)
  end)

  describe("whose session is said to be invalid (op 9)", function()
    it("but resumable, when READY, resumes", function()
      t:survives({ resumes = 1, attempts = 1, connections = 1 }, function()
        fault { ["do"] = "invalid_session", resumable = true }
      end)
    end)

    it("when READY, identifies", function()
      t:survives({ identifies = 1, attempts = 0, connections = 1 }, function()
        fault { ["do"] = "invalid_session", resumable = false }
      end)
    end)

    it("but resumable, while it resumes, resumes again", function()
      t:survives({ resumes = 2, connections = 2 }, function()
        fault { at = "resume", ["do"] = "invalid_session", resumable = true }
        cut()
      end)
    end)

    it("but resumable, three times while it resumes, identifies", function()
      t:survives({ resumes = 3, identifies = 1, connections = 4, quiet = true }, function()
        fault { at = "resume", ["do"] = "invalid_session", resumable = true, count = 3 }
        cut()
      end)
    end)

    it("while it resumes, identifies", function()
      t:survives({ resumes = 1, identifies = 1, connections = 2, quiet = true }, function()
        fault { at = "resume", ["do"] = "invalid_session", resumable = false }
        cut()
      end)
    end)

    for _, resumable in ipairs { true, false } do
      it("while it identifies, identifies again (resumable " .. tostring(resumable) .. ")", function()
        local log = t:survives({ identifies = 2, attempts = 0, connections = 2 }, function()
          fault { at = "identify", ["do"] = "invalid_session", resumable = resumable }
          fault { ["do"] = "close", code = 4006 }
        end)
        assert.matches("the identify failed", log)
      end)
    end

    it("by a Discord that has lost all sessions, tries one RESUME and identifies", function()
      t:survives({ identifies = 1, attempts = 1, connections = 2, violations = 1 }, function()
        fault { ["do"] = "kill_session" }
        cut()
      end)
    end)
  end)

  describe("whose RESUME is cut off", function()
    it("twice, keeps the session", function()
      t:survives({ resumes = 3, connections = 3 }, function()
        fault { at = "resume", ["do"] = "rst", count = 2 }
        cut()
      end)
    end)

    it("three times in a row, gives the session up and identifies", function()
      local log = t:survives({ resumes = 3, identifies = 1, connections = 4, quiet = true }, function()
        fault { at = "resume", ["do"] = "rst", count = 3 }
        cut()
      end)
      assert.matches("given up", log)
    end)

    it("again and again in the midst of the replay, keeps the session", function()
      t:survives({ resumes = 6, connections = 6 }, function()
        fault { at = "resume", ["do"] = "withhold", replay = true, count = 5 }
        cut()
        for i = 1, 5 do
          local before = #t.bot.events
          t.fake:wait_for("resume " .. i, function(state)
            local connection = state.connections[1]
            return connection and connection.state == "ready" and connection.dispatches > 0
          end, { only = "connections" })
          t.bot:wait_for_events(before + 1)
          cut()
        end
      end)
    end)
  end)

  it("gets a long replay in order, and what is new behind it", function()
    local resumes = #t.scene:list "resumes"
    t:survives({ resumes = 1, connections = 2 }, function()
      fault { at = "hello", ["do"] = "withhold" } -- away for as long as it waits for HELLO
      cut()
      t.fake:emit { count = 3000, size = 300 }
    end)
    local resume = t.scene:list("resumes")[resumes + 1]
    assert.is_true(resume.replayed >= 3000)
  end)

  it("identifies when Discord no longer keeps what it would have to replay", function()
    t:survives({ identifies = 1, attempts = 1, violations = 1, quiet = true }, function()
      t.fake:settings { replay_events = 10 }
      fault { at = "hello", ["do"] = "withhold" }
      cut()
      t.fake:emit { event = "SOMETHING_NEW", d = {}, shard = 0 }
      for _ = 1, 20 do
        t.fake:emit { event = "SOMETHING_NEW", d = {}, shard = 0 }
      end
      t.fake:wait_for("the new session", function(state)
        return state.connections[1] and state.connections[1].state == "ready"
      end, { only = "connections" })
      t.fake:settings { replay_events = 20000 }
    end)
  end)

  -- The session of before gets another URL only with a new READY.
  local function with_resume_url(url, expected, make_fault)
    t.fake:settings { resume_url = url }
    t:survives({ identifies = 1 }, function()
      fault { ["do"] = "close", code = 4006 }
    end)
    local log = t:survives(expected, make_fault or cut)
    t.fake:settings { resume_url = "" }
    t:survives({ identifies = 1 }, function()
      fault { ["do"] = "close", code = 4006 }
    end)
    return log
  end

  local function count(log, pattern)
    local _, n = log:gsub(pattern, "")
    return n
  end

  -- A resume URL has the main URL's port, and this machine is this machine by all of its addresses.
  local function elsewhere()
    return "ws://127.0.0.2:" .. t.fake.gateway:match ":(%d+)"
  end

  -- Takes connections there and answers with the text, or not at all.
  local function server(text)
    local tcp = uv.new_tcp()
    local accepted = { tcp }
    assert(tcp:bind("127.0.0.2", tonumber(t.fake.gateway:match ":(%d+)")))
    tcp:listen(16, function()
      local client = uv.new_tcp()
      tcp:accept(client)
      accepted[#accepted + 1] = client
      client:read_start(function(_, chunk)
        if chunk and text then
          client:write(text)
        end
      end)
    end)
    finally(function()
      for _, handle in ipairs(accepted) do
        handle:close()
      end
    end)
    return elsewhere()
  end

  describe("whose resume URL", function()
    before_each(function() t:mend() end)

    -- The fake notes that the RESUME came to another host than it had named.
    local OVER_MAIN = { resumes = 1, attempts = 1, connections = 1, violations = 1 }

    it("is unreachable, resumes over the main URL after three tries", function()
      local log = with_resume_url(elsewhere(), OVER_MAIN)
      assert.equal(3, count(log, "connecting failed"))
      assert.equal(3, count(log, "connecting failed[^\n]* next=resume"))
      assert.matches("resuming over the main URL", log)
    end)

    it("takes connections and never answers, resumes over the main URL", function()
      local log = with_resume_url(server(nil), OVER_MAIN)
      assert.equal(3, count(log, "no connection within the time allowed"))
    end)

    it("leads to something that does not speak HTTP, resumes over the main URL", function()
      local log = with_resume_url(server "SSH-2.0-OpenSSH_9.2\r\n", OVER_MAIN)
      assert.equal(3, count(log, "does not speak HTTP"), log)
    end)

    it("leads to something that only seems to speak WebSocket, resumes over the main URL", function()
      local log = with_resume_url(server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        .. "Connection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"), OVER_MAIN)
      assert.equal(3, count(log, "refused_upgrade") + count(log, "answered the WebSocket upgrade"))
    end)

    it("is not a URL, resumes over the main URL at once", function()
      local log = with_resume_url("nonsense", OVER_MAIN)
      assert.matches("the resume URL is refused", log)
      assert.equal(0, count(log, "connecting failed"))
    end)

    it("upgrades and never says HELLO, resumes over the main URL", function()
      local log = t:survives({ resumes = 1, attempts = 1, connections = 4 }, function()
        fault { at = "hello", ["do"] = "withhold", count = 3 }
        cut()
      end)
      assert.equal(3, count(log, "no HELLO came"))
      assert.matches("resuming over the main URL", log)
    end)
  end)
end)

describe("the delay before a shard resumes", function()
  local t

  setup(function() t = trial.start { hurry = 30 } end)
  teardown(trial.stop)

  local STEADY, BASE = 30000, 1000

  -- All that the log says of delays.
  local function delays(log)
    local list = {}
    for delay in log:gmatch(" delay=(%d+)\n") do
      list[#list + 1] = tonumber(delay)
    end
    return list
  end

  local WAYS = { { ["do"] = "rst" }, { ["do"] = "reconnect" }, { ["do"] = "close", code = 4000 } }

  it("is none after RESUMED, whatever it took to get there", function()
    t:survives({ resumes = 1, attempts = 1, connections = 1 }, function()
      t.fake:fault { at = "upgrade", ["do"] = "status", status = 503, count = 4 }
      t.fake:fault { ["do"] = "rst" }
    end)
    local log = t:survives({ resumes = 1, attempts = 1, connections = 1 }, function()
      t.fake:fault { ["do"] = "rst" }
    end)
    assert.same({ 0 }, delays(log))
  end)

  it("grows when sessions are cut off as soon as they run, and is none for one that has held", function()
    local hurry = t.given.hurry
    local from = #t.gateway.stderr
    local function cut(how)
      t:survives({ resumes = 1, attempts = 1, connections = 1 }, function() t.fake:fault(how) end)
    end
    t:pass(STEADY / hurry + 100) -- the last one has
    for i = 1, 7 do
      cut(WAYS[i % #WAYS + 1])
    end
    local list, sum = delays(t.gateway.stderr:sub(from + 1)), 0
    assert.equal(7, #list)
    for i, delay in ipairs(list) do
      sum = sum + delay
      local most = i > 4 and 2 ^ (i - 5) * BASE / hurry or 0 -- TG_FLAPS_MAX are free, and jitter is full
      assert.is_true(delay <= most, ("no. %d is %d ms"):format(i, delay))
    end
    assert.is_true(sum > 0)
    t:pass(STEADY / hurry + 100)
    from = #t.gateway.stderr
    cut(WAYS[1])
    assert.same({ 0 }, delays(t.gateway.stderr:sub(from + 1)))
  end)

  it("is in what the log says of op 9, and of what cannot be read", function()
    for what, fault in pairs {
      ["the session is invalid next=resume"] = { ["do"] = "invalid_session", resumable = true },
      ['this connection is given up reason="the compressed stream is corrupt"'] = { ["do"] = "corrupt" },
    } do
      local log = t:survives({ resumes = 1 }, function() t.fake:fault(fault) end)
      assert.matches(what .. " delay=%d+\n", log)
    end
  end)
end)

describe("a hundred reconnects", function()
  teardown(trial.stop)

  local WAYS = {
    { ["do"] = "rst" },
    { ["do"] = "fin" },
    { ["do"] = "reconnect" },
    { ["do"] = "close", code = 4000 },
    { ["do"] = "invalid_session", resumable = true },
    { ["do"] = "corrupt" },
    { ["do"] = "truncate" },
    { ["do"] = "close", code = 1012 },
  }

  -- KiB that the worker holds.
  local function resident(pid)
    return tonumber(paths.read(("/proc/%d/status"):format(pid)):match "VmRSS:%s*(%d+)")
  end

  it("leave no memory, no descriptor and no connection behind", function()
    -- A sanitizer keeps what was freed for a while: less than usual here, and it looks for leaks at the end.
    local asan = (os.getenv "ASAN_OPTIONS" or "") .. ":quarantine_size_mb=4"
    -- What is remembered of messages fills for as long as any come: not here.
    local t = trial.start {
      hurry = 500, shards = 2, fake = { tls = true }, env = { ASAN_OPTIONS = asan },
      script = 'require "tidegate".configure { message_updates = "all" }\n',
    }
    local worker = process.children(t.gateway.pid)[1]
    local function descriptors()
      local n = 0
      local scan = uv.fs_scandir(("/proc/%d/fd"):format(worker))
      while uv.fs_scandir_next(scan) do
        n = n + 1
      end
      return n
    end
    local resumes = t.scene:counters().resumes_ok
    local memory, files
    for i = 1, 100 do
      t.fake:fault(WAYS[i % #WAYS + 1])
      t.fake:wait_for("resume " .. i, function(state)
        local ready = 0
        for _, connection in ipairs(state.connections) do
          ready = ready + (connection.state == "ready" and 1 or 0)
        end
        return ready == 2 and state.counters.resumes_ok >= resumes + 2 * i
      end, { only = "connections,counters" })
      if i == 20 then
        memory, files = resident(worker), descriptors()
      end
    end
    t:assert_nothing_lost()
    assert.equal(2, t.scene:counters().identifies_ok)
    local grown = resident(worker) - memory
    assert.is_true(grown < (paths.slow > 1 and 40000 or 1024), ("%d KiB more at the end"):format(grown))
    assert.is_true(descriptors() <= files + 2)
    assert.equal(2, #t.fake:state("connections").connections)
    assert.equal(0, t.gateway:stop())
  end)
end)
