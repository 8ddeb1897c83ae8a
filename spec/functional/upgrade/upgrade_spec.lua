-- Another program takes the place of the one that runs: the manager's in its own process, then worker after
-- worker. However that ends, all goes on. With TG_SPEC_LONG=1 for a big bot, too.

local notify_socket = require "spec.support.notify_socket"
local paths = require "spec.support.paths"
local process = require "spec.support.process"
local scene = require "spec.support.scene"
local trial = require "spec.support.upgrade_trial"

describe("a live upgrade", function()
  after_each(trial.stop)

  local function start(options)
    local given = { shards = 4, per_worker = 2, workers = 2 }
    for name, value in pairs(options or {}) do
      given[name] = value
    end
    return trial.start(given)
  end

  it("to the same program: all goes on, in new workers", function()
    local t = start()
    local workers = t.gateway:worker_pids()
    local last, answer = t:upgrade()
    assert.equal(202, answer.status)
    assert.equal("done", last.result)
    for _, pid in ipairs(workers) do
      assert.is_false(process.is_running(pid))
    end
    assert.equal(2, #t.gateway:worker_pids())
    t:assert_unharmed("the same program", { resumes = 4 })
  end)

  if os.getenv "TG_SPEC_LONG" == "1" then
    it("of 200 shards in 4 workers under 2,000 events a second", function()
      local t = start { shards = 200, per_worker = 50, workers = 4, rate = 2000 }
      t:install { ["0.1.0"] = "0.1.7" }
      assert.equal("done", t:upgrade().result)
      t:assert_unharmed("200 shards", { resumes = 200 })
    end)
  end

  it("whose script takes long to load: /healthz is answered meanwhile", function()
    local t = start { script = [[
      local gateway = require "tidegate"
      gateway.configure { event_handler = { markers = true }, script = { load_budget = 10000 } }
      local clock = os.clock() + (gateway.role == "manager" and io.open "slow" and 0.7 or 0)
      while os.clock() < clock do end
    ]] }
    paths.write(t.gateway.dir .. "/slow", "")
    assert.equal("done", t:upgrade().result)
    t:assert_unharmed("a slow script", { resumes = 4 })
  end)

  it("to another version, with SIGUSR2, and to the next", function()
    local t = start()
    t:install { ["0.1.0"] = "0.1.7" }
    t:signal()
    local last = t:await_end()
    assert.equal("done", last.result)
    assert.same({ "0.1.0", "0.1.7" }, { last.from, last.to })
    assert.equal("0.1.7", t:status().version)
    t:install { ["0.1.0"] = "0.1.8" }
    local files = t:files()
    assert.same({ "0.1.7", "0.1.8" }, { t:upgrade().from, t:status().version })
    t:assert_files_are(files)
    t:assert_unharmed("another version", { resumes = 8 })
  end)

  it("to one that speaks another version of the messages: workers are told nothing but to stop", function()
    local t = start()
    t:install { still_alive = "still_awake", ["0.1.0"] = "0.1.9" }
    assert.equal("done", t:upgrade().result)
    assert.equal("0.1.9", t:status().version)
    assert.equal(1, t.gateway:count_log "the workers speak another version of the messages")
    assert.equal(0, t.gateway:count_log "was not understood")
    t:assert_unharmed("another version of the messages", { resumes = 4 })
  end)

  describe("in the eyes of", function()
    it("people: ctl says how it went", function()
      local t = start()
      t:install { ["0.1.0"] = "0.1.7" }
      local done = t:ctl "upgrade"
      assert.equal(0, done.exit_code, done.stderr)
      assert.matches("takes over: from 0%.1%.0 to 0%.1%.7", done.stdout)
      assert.matches("\nupgraded from 0%.1%.0 to 0%.1%.7 in ", done.stdout)
      local upgrade = t.gateway:control("GET", "/status"):json().upgrade
      assert.same({ "0.1.7", 1, 0, "done" },
        { upgrade.version, upgrade.done, upgrade.failed, upgrade.last.result })
      assert.is_true(upgrade.since < t.gateway:control("GET", "/status"):json().uptime)
      assert.matches("\nUpgrade +from 0%.1%.0 to 0%.1%.7 done %d+ m?s ago", t:ctl("status", "--table").stdout)
      local status = t:ctl("upgrade", "status", "--table")
      assert.matches("^version 0%.1%.7 runs; no upgrade is under way\n", status.stdout)
      t:install "#!/bin/sh\nexit 78\n"
      local refused = t:ctl "upgrade"
      assert.equal(1, refused.exit_code)
      assert.matches("it ended with exit code 78", refused.stderr)
      assert.matches("\nUpgrade +from 0%.1%.7 to an unknown version failed %d+ m?s ago: it ended with",
        t:ctl("status", "--table").stdout)
      local metrics = t:metrics()
      assert.same({ 1, 1 }, {
        metrics:value("tidegate_upgrades_total", { result = "done" }),
        metrics:value("tidegate_upgrades_total", { result = "failed" }),
      })
      t:install { ["0.1.0"] = "0.1.8" }
      assert.equal(0, t:ctl("upgrade").exit_code)
      upgrade = t:status()
      assert.same({ 2, 1 }, { upgrade.done, upgrade.failed })
      t:assert_unharmed("ctl", { resumes = 8 })
    end)

    it("a service manager: the same main process, which reloads", function()
      local socket = notify_socket.open()
      local t = start { env = { NOTIFY_SOCKET = socket.name } }
      local _, ready = socket:wait_for "READY=1"
      t:upgrade()
      local reloading, from = socket:wait_for("RELOADING=1", ready + 1)
      assert.equal("upgrading", reloading.STATUS)
      assert.is_number(tonumber(reloading.MONOTONIC_USEC))
      local _, over = socket:wait_for("READY=1", from + 1)
      for i = 1, over do
        assert.equal(t.pid, socket.messages[i].pid)
        assert.is_nil(socket.messages[i].STOPPING)
      end
      t:assert_unharmed "a service"
      scene.stop()
      notify_socket.cleanup()
    end)

    it("clients of a unix socket: it stays where it is, until the end", function()
      local path = paths.tmp() .. "/control.sock"
      local t = start { env = { TIDEGATE_CONTROL = "unix:" .. path }, watched = false }
      assert.equal("done", t:upgrade().result)
      assert.equal("done", t:upgrade().result)
      assert.equal(200, t.gateway:control("GET", "/healthz").status)
      t.gateway:stop()
      assert.is_nil(io.open(path))
    end)
  end)

  it("of a bot whose script has set presences: sessions that begin later have them", function()
    local t = start { script = [[
      local gateway = require "tidegate"
      gateway.configure { event_handler = { markers = true } }
      gateway.on("TYPING_START", function(event)
        local what = event.data.user_id
        local presence = { activities = { { name = what, type = 0 } } }
        if what == "the bot" then
          gateway.manager:edit_bot_status(presence)
        elseif what:find "^shard" then
          gateway.manager:edit_shard_status(1, presence)
        end
      end)
    ]] }
    local function await_presences(n)
      t.fake:wait_for(n .. " presences", function(state) return #state.commands >= n end,
        { only = "commands" })
    end
    t.scene:type "the bot"
    await_presences(4)
    t.scene:type "shard one"
    await_presences(5)
    t:install { ["0.1.0"] = "0.1.7" }
    assert.equal("done", t:upgrade().result)
    t.fake:settings { rate = 0 }
    local before = t:counters().identifies
    t.fake:fault { ["do"] = "invalid_session", resumable = false }
    t.scene:wait_counter("identifies_ok", before + 4, 30000)
    local seen = {}
    for i, identify in ipairs(t:list "identifies") do
      if i > before then
        seen[identify.shard] = identify.presence.activities[1].name
      end
    end
    assert.same({ [0] = "the bot", "shard one", "the bot", "the bot" }, seen)
  end)

  it("while shards identify: each does once, and in its turn", function()
    local s = scene.start {
      shards = 8, per_worker = 4, workers = 2, ready = false, reload = false, spawn_shard_delay = 750,
      fake = { identify_window = 700 },
    }
    s.gateway:wait_ready(3)
    assert.equal(202, s.gateway:control("POST", "/upgrade", { timeout = 30000 }).status)
    s.gateway:wait_for_log("manager: upgraded from", 30000)
    s.gateway:wait_ready(8, 30000)
    assert.equal(8, s:counters().identifies)
    assert.same({}, s:list "violations")
  end)

  it("is refused while the bot goes over to other shards", function()
    local t = start { shards = 2, per_worker = 1 }
    assert.equal(202, t.gateway:control("POST", "/reshard", { json = { totalShards = 4 } }).status)
    local answer = t:ask()
    assert.equal(409, answer.status)
    assert.matches("goes over to another number of shards", answer:json().error)
  end)

  describe("does not take place with a program that", function()
    local function refused(t, problem)
      local workers = t.gateway:worker_pids()
      local last, answer = t:upgrade()
      assert.equal(409, answer.status)
      assert.matches(problem, answer:json().error)
      assert.equal("failed", last.result)
      assert.matches(problem, last.problem)
      assert.same(workers, t.gateway:worker_pids())
      t:assert_unharmed(problem, { resumes = 0 })
    end

    it("refuses to start", function()
      local t = start()
      t:install "#!/bin/sh\nexit 78\n"
      refused(t, "it ended with exit code 78")
    end)

    it("crashes in its first second", function()
      local t = start()
      t:install "#!/bin/sh\nkill -SEGV $$\n"
      refused(t, "it was ended by signal 11")
    end)

    it("does not know of upgrades", function()
      local t = start()
      t:install { ["--candidate"] = "--candidacy" }
      refused(t, "it does not know live upgrades")
    end)

    it("is no program, or none at all", function()
      local t = start()
      t:install "\127ELF, but no program"
      assert.matches("cannot be executed", t:upgrade().problem)
      os.remove(t.program)
      refused(t, "cannot be executed")
    end)

    it("keeps sessions otherwise", function()
      local t = start()
      t:install { ["/shards"] = "/shreds" }
      refused(t, "it keeps sessions in another way")
    end)

    it("finds another configuration, which needs a restart", function()
      local t = start()
      paths.write(t.gateway.script, 'require "tidegate".configure { intents = 513 }')
      refused(t, "the token or the intents are others now")
    end)

    it("finds a script that does not load", function()
      local t = start()
      paths.write(t.gateway.script, "oh no")
      refused(t, "it ended with exit code 78")
    end)
  end)

  describe("fails with a program that", function()
    -- Once, and in the manager's own process: the program that is tried before has another pid.
    local SCRIPT = [[
      local gateway = require "tidegate"
      local ffi = require "ffi"
      ffi.cdef "int getpid(void); int pthread_mutex_lock(void *);"
      gateway.configure { event_handler = { markers = true } }
      local name = gateway.role == "manager" and "manager-" .. ffi.C.getpid() or gateway.role
      if os.remove(name) then
        FAULT
      end
    ]]

    local CRASH = 'ffi.cast("int *", 8)[0] = 1'
    -- No signal ends that.
    local HANG = 'local mutex = ffi.new "char[64]" for _ = 1, 2 do ffi.C.pthread_mutex_lock(mutex) end'

    local function start_with(fault)
      return start {
        script = (SCRIPT:gsub("FAULT", function() return fault end)),
        env = scene.crashes,
      }
    end

    local function fails(t, role, problem)
      paths.write(t.gateway.dir .. "/" .. (role == "manager" and "manager-" .. t.pid or role), "")
      t:install { ["0.1.0"] = "0.1.7" }
      local last, answer = t:upgrade()
      assert.equal(202, answer.status)
      assert.equal("failed", last.result)
      assert.matches(problem, last.problem)
      assert.equal("0.1.0", t:status().version)
      t:assert_unharmed(problem)
    end

    it("crashes as it begins", function()
      fails(start_with(CRASH), "manager", "signal 11")
    end)

    it("crashes in its first second", function()
      fails(start_with(("gateway.after(500, function() %s end)"):format(CRASH)), "manager", "signal 11")
    end)

    it("hangs as it begins", function()
      fails(start_with(HANG), "manager", "it did not come up in time")
    end)

    it("hangs in its first second, and so answers nobody for some", function()
      local t = start_with(("gateway.after(500, function() %s end)"):format(HANG))
      t.health:stop()
      paths.write(t.gateway.dir .. "/manager-" .. t.pid, "")
      local last = t:upgrade()
      assert.same({ "failed", "it did not come up in time" }, { last.result, last.problem })
      t:await_up()
      t:assert_nothing_lost { name = "hung in its first second", identifies = t.shards }
    end)

    it("ends", function()
      fails(start_with "os.exit(7)", "manager", "it ended with exit code")
    end)

    it("does not load its script", function()
      fails(start_with "error 'not today'", "manager", "it ended with exit code 78")
    end)

    it("has workers that crash", function()
      local t = start_with(CRASH)
      fails(t, "worker", "its worker 0 has ended before it was up")
      t:install {} -- one that has no fault any more
      assert.equal("done", t:upgrade().result)
    end)

    it("has workers that do not load their script", function()
      fails(start_with "error 'not today'", "worker", "its worker 0 has ended before it was up")
    end)
  end)
end)
