-- Verdicts on a cluster: that they find what must not be.

local judge = require "spec.support.cluster_judge"

describe("the judge of a cluster", function()
  it("finds identifies that were refused, or came early", function()
    local list = {
      { shard = 0, bucket = 0, at = 100, verdict = "ok" },
      { shard = 1, bucket = 1, at = 101, verdict = "ok" },
      { shard = 2, bucket = 0, at = 5100, verdict = "ok" },
    }
    judge.check_identifies(list, 5000)
    list[3].at = 5099
    assert.error_matches(function() judge.check_identifies(list, 5000) end,
      "shard 2 at 5099 ms comes 4999 ms after another one of bucket 0")
    list[3] = { shard = 2, bucket = 0, at = 9000, verdict = "op9" }
    assert.error_matches(function() judge.check_identifies(list, 5000) end, "was refused: op9")
  end)

  it("finds epochs that do not rise, or that two sessions have", function()
    local function ready(shard, epoch, late)
      return { t = "READY", shard = shard, epoch = epoch, key = shard .. "." .. epoch .. ".1", late = late }
    end
    judge.check_epochs { ready(0, 7), ready(1, 8), ready(0, 7), ready(0, 9), ready(0, 6, true) }
    assert.error_matches(function() judge.check_epochs { ready(0, 7), ready(0, 6) } end,
      "epoch 6 of shard 0 comes after 7")
    assert.error_matches(function() judge.check_epochs { ready(0, 7), ready(1, 7) } end,
      "0.7.1 and 1.7.1 have the same epoch")
  end)

  it("finds shards with no connection, or two, or two sessions", function()
    local state = {
      connections = { { shard = 0, state = "ready" }, { shard = 1, state = "ready" }, { state = "new" } },
      sessions = { { shard = 0 }, { shard = 1 } },
    }
    judge.check_sessions(state, 2, true)
    state.sessions[3] = { shard = 0 }
    judge.check_sessions(state, 2, false)
    assert.error_matches(function() judge.check_sessions(state, 2, true) end, "shard 0 has 2 sessions")
    assert.error_matches(function() judge.check_sessions(state, 3) end, "shard 2 has 0 connections")
    assert.same({ 2 }, judge.missing(state.connections, 3))
    state.connections[3] = { shard = 1, state = "ready" }
    assert.error_matches(function() judge.check_sessions(state, 2) end, "shard 1 has 2 connections")
  end)

  it("measures how long shards were away, and moves took", function()
    local resumes = {
      { shard = 0, at = 50, result = "ok" }, { shard = 1, at = 120, result = "4007" },
      { shard = 0, at = 130, result = "ok", taken_from = 4 }, { shard = 1, at = 140, result = "ok" },
      { shard = 0, at = 190, result = "ok" },
    }
    assert.same({ [0] = 30, [1] = 40 }, judge.resumed(resumes, { 0, 1 }, 100))
    assert.is_nil(judge.resumed(resumes, { 0, 2 }, 100))
    local closes = {
      { shard = 0, at = 110, by = "client", code = 4000 },
      { shard = 1, at = 111, by = "server", code = 4000 },
      { shard = 1, at = 135, by = "client", code = 4000 },
      { shard = 0, at = 195, by = "client", code = 4000 },
    }
    assert.same({ 20, 5 }, judge.moves({ closes = closes, resumes = resumes }, 100))
    assert.same({ 1, 0 }, { judge.taken(resumes, 100), judge.taken(resumes, 131) })
    assert.same({ 2, 1 }, { judge.most_resumes(resumes, 100), judge.most_resumes(resumes, 131) })
    local events = { { key = "a" }, { key = "a" }, { key = "b" }, { key = "a" }, { key = "c" } }
    assert.same({ 2, 1, 0 },
      { judge.repeated(events, 0), judge.repeated(events, 2), judge.repeated(events, 4) })
    assert.same({ count = 3, median = 40, p99 = 50, max = 50 }, judge.figures { a = 50, b = 30, c = 40 })
    assert.same({ count = 0, median = 0, p99 = 0, max = 0 }, judge.figures {})
  end)
end)
