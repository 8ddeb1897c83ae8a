-- status {}: all there is, for people. `away`: hosts that are known, and do not live.
function calls.status()
  local answer = { now = now, quiet = quiet, hold = hold, total = total, leader = c.leader, limit = tonumber(c.limit),
                   remaining = tonumber(c.remaining), bot = c.bot, holes = read_holes(), owed = read_owed() }
  answer.reset_after = c.reset_at and math.max(0, c.reset_at - now)
  answer.max_concurrency = tonumber(c.max_concurrency)
  local hosts, away = read_hosts(), {}
  for name, host in pairs(hosts) do
    if not host.alive then away[#away + 1] = { name = name, age = now - (host.till - TTL) } end
  end
  answer.away = away
  survey(answer, hosts)
  return answer
end
