-- status {}: all there is, for people.
function calls.status()
  local answer = { quiet = quiet, hold = hold, total = total, leader = c.leader, limit = tonumber(c.limit),
                   remaining = tonumber(c.remaining), bot = c.bot, holes = read_holes(), owed = read_owed() }
  answer.reset_after = c.reset_at and math.max(0, c.reset_at - now)
  answer.max_concurrency = tonumber(c.max_concurrency)
  survey(answer, read_hosts())
  return answer
end
