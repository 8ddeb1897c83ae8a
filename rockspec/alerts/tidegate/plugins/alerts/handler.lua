-- Life-cycle events of shards, event handlers and workers as messages to a webhook of Discord's, or as JSON
-- to any URL.
--
-- Each worker sees the events of its own shards. It gathers them for a moment and hands them to the manager,
-- which alone posts: a whole restart is a message or two, whatever the number of shards. Events of one kind
-- are one line, with a count.

local gateway = require "tidegate"

local Alerts = { VERSION = "1.0.0", PRIORITY = 100, API = 1 }

local GATHER = 250 -- ms in a worker
local KINDS = 40 -- of alerts that wait; what is of none of them is counted together
local SHARDS = 500 -- that one of them remembers
local TRIES = 5
local FIRST_PAUSE, LONGEST_PAUSE = 5000, 3600000 -- ms between two tries
local CONTENT = 2000 -- characters that Discord takes in a message

-- ---- what happened, in words ----

local resharding = {
  started = "the bot goes over from %d to %d shards",
  done = "the bot has gone over from %d to %d shards",
  aborted = "going over from %d to %d shards was taken back",
  failed = "going over from %d to %d shards has failed, and is taken back",
}

local deaf = {
  resume = "the session gets no %s, and is resumed",
  identify = "the session gets no %s, and is ended for a new one",
  hears = "the session gets %s again",
  waits = "the session gets no %s; a new one waits for session starts",
  given_up = "the session gets no %s, and nothing has helped",
  vanished = "no shard gets %s any more",
  back = "shards get %s again",
}

local function with_reason(text, reason)
  return reason and reason ~= "" and ("%s: %s"):format(text, reason) or text
end

local words = {
  disconnected = function(details)
    return with_reason(("disconnected with code %d"):format(details.code), details.reason)
  end,
  invalid_session = function(details)
    return "invalid session, " .. (details.resumable and "to be resumed" or "to be identified anew")
  end,
  requested_reconnect = function() return "Discord has asked for a reconnect" end,
  guilds_loaded = function(details)
    return details.missing > 0 and "guilds are loaded, but not all of them have come" or "guilds are loaded"
  end,
  handler_down = function(details)
    return with_reason(("the event handler %s takes no events"):format(details.url), details.reason)
  end,
  handler_up = function(details)
    return ("the event handler %s takes events again"):format(details.url)
  end,
  reload = function() return "the script was reloaded" end,
  resharding = function(details)
    return with_reason(resharding[details.step]:format(details.from, details.to), details.reason)
  end,
  deaf = function(details) return deaf[details.step]:format(details.event or "events") end,
}

-- { event, text, count, shards, first, last }: a kind of alert, of which there may have been many.
local function alert_of(event, details, shard_id)
  local text = words[event] and words[event](details or {}) or event
  local now = gateway.now()
  return { event = event, text = gateway.utf8.cut(text, 300), count = 1, shards = { shard_id },
           first = now, last = now }
end

local function find(list, alert)
  for _, other in ipairs(list) do
    if other.event == alert.event and other.text == alert.text then return other end
  end
end

local function add_shards(to, shards)
  local known = {}
  for _, id in ipairs(to) do known[id] = true end
  for _, id in ipairs(shards) do
    if not known[id] and #to < SHARDS then
      known[id] = true
      to[#to + 1] = id
    end
  end
end

-- Adds an alert to a list in which each kind stands once.
local function merge(list, alert)
  local other = find(list, alert)
  if not other and #list >= KINDS then
    alert.event, alert.text = "other", "other alerts"
    other = find(list, alert)
  end
  if not other then
    list[#list + 1] = alert
    return
  end
  other.count = other.count + alert.count
  other.first, other.last = math.min(other.first, alert.first), math.max(other.last, alert.last)
  add_shards(other.shards, alert.shards)
end

-- "0-3, 7"
local function ranges(ids)
  local sorted, parts = { unpack(ids) }, {}
  table.sort(sorted)
  local first = 1
  for i, id in ipairs(sorted) do
    if sorted[i + 1] ~= id + 1 then
      parts[#parts + 1] = first == i and tostring(id) or ("%d-%d"):format(sorted[first], id)
      first = i + 1
    end
  end
  return table.concat(parts, ", ")
end

local function line_of(alert)
  local line = alert.text
  if #alert.shards > 0 then
    line = ("shard%s %s: %s"):format(#alert.shards > 1 and "s" or "", ranges(alert.shards), line)
  end
  return alert.count > 1 and ("%s (%d times)"):format(line, alert.count) or line
end

local function text_of(title, alerts)
  local lines = {}
  for i, alert in ipairs(alerts) do lines[i] = line_of(alert) end
  if #lines == 1 then return ("%s: %s"):format(title, lines[1]) end
  return ("%s:\n- %s"):format(title, table.concat(lines, "\n- "))
end

-- ---- posting: in the manager ----

local function is_discord(config)
  if config.format ~= "auto" then return config.format == "discord" end
  local host, path = config.url:match "^https?://([^/]+)(/.*)"
  return host ~= nil and ("." .. host):find "%.discord[ap]*%.com$" ~= nil
    and path:find("/webhooks/", 1, true) ~= nil
end

local function body_of(config, alerts)
  local text = text_of(config.title, alerts)
  if not is_discord(config) then
    local list = {} -- never empty
    for i, alert in ipairs(alerts) do
      list[i] = { event = alert.event, text = alert.text, count = alert.count, first = alert.first,
                  last = alert.last, shards = gateway.json.array { unpack(alert.shards) } }
    end
    return { title = config.title, text = text, alerts = list }
  end
  if #text > CONTENT then text = gateway.utf8.cut(text, CONTENT - 4) .. "\n..." end
  return { content = text, allowed_mentions = { parse = gateway.json.array {} } } -- nobody is called
end

-- How long Discord, or whoever answers so, wants to be left alone, in ms.
local function pause_after(response, try)
  local pause = FIRST_PAUSE * 2 ^ (try - 1)
  if response and (response.status == 429 or response.status == 503) then
    local data = response.data
    local seconds = type(data) == "table" and tonumber(data.retry_after)
    pause = response.retry_after or seconds and seconds * 1000 or pause
    if seconds then pause = math.max(pause, seconds * 1000) end -- the header has whole seconds
  end
  return math.min(math.max(pause, 1), LONGEST_PAUSE)
end

-- True: it is done with, well or not. Otherwise how long to wait before the next try. The URL is a secret:
-- no message of this has it.
local function post(self, alerts, try)
  local response, err = self.http.post(self.config.url, {
    json = body_of(self.config, alerts), headers = self.config.headers,
  })
  local status = response and response.status
  if status and status >= 200 and status < 300 then return true end
  if err and err.code == "cancelled" then return nil, 0 end
  local why = status and "it answered " .. status or err.code
  local is_final = status and status < 500 and status ~= 429 and status ~= 408
  if is_final or try >= TRIES then
    self.lost:add()
    self.log.error("%d alerts were not sent: %s", #alerts, why)
    return true
  end
  local pause = pause_after(response, try)
  self.log.warn("alerts were not sent, and are again in %d ms: %s", pause, why)
  return nil, pause
end

-- What is being sent has to go out again, in front of what has come meanwhile.
local function put_back(state)
  local alerts = state.sending
  state.sending = nil
  if not alerts then return end
  for _, alert in ipairs(state.waiting) do merge(alerts, alert) end
  state.waiting = alerts
end

-- What waits is in self.state, so that a reload loses nothing.
local function post_all(self)
  local state, try, pause = self.state, 1, self.config.delay
  while state.waiting[1] do
    if not self:sleep(math.max(pause, (state.quiet_until or 0) - gateway.now(), 1)) then return end
    state.sending, state.waiting = state.waiting, {}
    local done, again = post(self, state.sending, try)
    if done then
      state.sending, state.quiet_until = nil, gateway.now() + self.config.quiet
      try, pause = 1, self.config.delay
    else
      put_back(state)
      try, pause = try + 1, again
    end
  end
end

local function start_posting(self)
  if self.is_posting or not self.state.waiting[1] then return end
  self.is_posting = true
  self:spawn(function()
    local ok, problem = pcall(post_all, self)
    self.is_posting = false
    if not ok then -- what cannot be posted must not be in the way of the next ones
      self.state.waiting, self.state.sending = {}, nil
      self.lost:add()
      error(problem, 0)
    end
  end)
end

local function take(self, alerts)
  for _, alert in ipairs(alerts) do merge(self.state.waiting, alert) end
  start_posting(self)
end

-- Of the steps in between there are as many as classes of guilds.
local function watch_resharding(self)
  self:on("resharding", function(_, details)
    if resharding[details.step] then take(self, { alert_of("resharding", details) }) end
  end)
end

local function watch_deaf(self)
  self:on("deaf", function(_, details)
    if deaf[details.step] then take(self, { alert_of("deaf", details, details.shard_id) }) end
  end)
end

local function load_manager(self, topic)
  self.lost = self.metrics.counter("alerts_lost", { help = "Messages with alerts that nobody has taken." })
  self.state.waiting = self.state.waiting or {}
  self:on_broadcast(topic, function(alerts) take(self, alerts) end)
  self:on("load", function() -- what a reload has interrupted
    put_back(self.state)
    start_posting(self)
  end)
end

-- ---- gathering: in the workers ----

local function hand_over(self, topic)
  local alerts = self.state.gathered
  self.state.gathered = {}
  if not alerts[1] then return end
  local ok, err = self:broadcast(topic, alerts)
  if not ok then self.log.warn("%d alerts are lost: %s", #alerts, err) end
end

local function load_worker(self, topic, events)
  self.state.gathered = self.state.gathered or {}
  for _, event in ipairs(events) do
    self:on(event, function(shard, details)
      local gathered = self.state.gathered
      if not gathered[1] then
        self:after(GATHER, function() hand_over(self, topic) end)
      end
      merge(gathered, alert_of(event, details, shard and shard.id))
    end)
  end
  self:on("load", function() hand_over(self, topic) end) -- what a reload has interrupted
end

function Alerts:load(config)
  local topic, events, of_manager = "alerts:" .. self.name, {}, {}
  for _, event in ipairs(config.events) do
    if event == "worker_exit" or event == "resharding" or event == "deaf" then
      of_manager[event] = true
    else
      events[#events + 1] = event
    end
  end
  if of_manager.worker_exit then
    self:override("manager", "handle_worker_exit", function(following, manager, worker_id, reason)
      local alert = alert_of "worker_exit"
      alert.text = gateway.utf8.cut(("worker %d has ended: %s"):format(worker_id, tostring(reason)), 300)
      take(self, { alert })
      return following(manager, worker_id, reason)
    end)
  end
  if self.role == "manager" then
    if of_manager.resharding then watch_resharding(self) end
    if of_manager.deaf then watch_deaf(self) end
    return load_manager(self, topic)
  end
  load_worker(self, topic, events)
end

return Alerts
