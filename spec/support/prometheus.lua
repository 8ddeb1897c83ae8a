-- Reads Prometheus' text format (0.0.4), as strictly as a scraper and its linter do.
--
--   local metrics = prometheus.parse(response.body)           raises with the line that is wrong
--   metrics:value("tidegate_shard_state", { shard = 0 })      nil: there is no such sample
--   metrics:sum("tidegate_events_received_total")             over all labels that are not given
--   metrics.families.tidegate_ready                 {type, help, samples = {{name, labels, value}}}
--   prometheus.promtool(text)   nil: promtool is not there; true, or false and why

local paths = require "spec.support.paths"
local process = require "spec.support.process"

local prometheus = {}

local Metrics = {}
Metrics.__index = Metrics

local TYPES = { counter = true, gauge = true, histogram = true }
local SUFFIXES = { _bucket = true, _sum = true, _count = true }
local ESCAPES = { ["\\"] = "\\", ["n"] = "\n", ['"'] = '"' }

local function read_labels(text, line)
  local labels, at = {}, 1
  while at <= #text do
    local name, from = text:match('^([%a_][%w_]*)="()', at)
    assert(name and not name:find "^__", "bad label name: " .. line)
    assert(labels[name] == nil, "a label twice: " .. line)
    local value = {}
    at = from
    while text:sub(at, at) ~= '"' do
      local char = text:sub(at, at)
      assert(char ~= "", "a label without end: " .. line)
      if char == "\\" then
        at = at + 1
        char = assert(ESCAPES[text:sub(at, at)], "bad escape: " .. line)
      end
      value[#value + 1] = char
      at = at + 1
    end
    labels[name] = table.concat(value)
    at = at + 1
    if at <= #text then
      assert(text:sub(at, at) == "," and at < #text, "bad labels: " .. line)
      at = at + 1
    end
  end
  return labels
end

local function read_number(text, line)
  if text == "+Inf" or text == "-Inf" or text == "NaN" then
    return ({ ["+Inf"] = math.huge, ["-Inf"] = -math.huge, ["NaN"] = 0 / 0 })[text]
  end
  return assert(text:match "^%-?%d+%.?%d*[eE]?[+-]?%d*$" and tonumber(text), "bad number: " .. line)
end

local function key_of(name, labels)
  local parts = {}
  for label, value in pairs(labels) do
    parts[#parts + 1] = ("%s=%q"):format(label, value)
  end
  table.sort(parts)
  return name .. "{" .. table.concat(parts, ",") .. "}"
end

local function begin_family(self, line, kind, name, rest)
  local family = self.families[name]
  if kind == "HELP" then
    assert(not family, "a family in two places: " .. line)
    assert(rest ~= "", "no help: " .. line)
    family = { name = name, help = rest, samples = {} }
    self.families[name] = family
    self.names[#self.names + 1] = name
  else
    assert(family and family == self.last and not family.type, "TYPE does not follow HELP: " .. line)
    assert(TYPES[rest], "bad type: " .. line)
    family.type = rest
  end
  self.last = family
end

local function add_sample(self, line, name, labels, text)
  local family = assert(self.last and self.last.type and self.last, "no family: " .. line)
  local suffix = name:sub(#family.name + 1)
  assert(name:sub(1, #family.name) == family.name, "a sample of another family: " .. line)
  assert(suffix == "" and family.type ~= "histogram" or SUFFIXES[suffix] and family.type == "histogram",
    "no sample of this family: " .. line)
  assert((labels.le ~= nil) == (suffix == "_bucket"), "le is for buckets: " .. line)
  local key = key_of(name, labels)
  assert(not self.samples[key], "a sample twice: " .. line)
  local sample = { name = name, labels = labels, value = read_number(text, line), key = key }
  assert(family.type == "gauge" or sample.value >= 0 or suffix == "_sum", "a count below 0: " .. line)
  self.samples[key] = sample
  family.samples[#family.samples + 1] = sample
end

-- Buckets in order, cumulative, the last one +Inf and equal to the count.
local function check_histogram(self, family)
  local last
  for _, sample in ipairs(family.samples) do
    if sample.name == family.name .. "_bucket" then
      local limit = read_number(sample.labels.le, sample.key)
      if last then
        assert(limit > last.limit and sample.value >= last.value, "buckets: " .. sample.key)
      end
      last = { limit = limit, value = sample.value }
    else
      assert(not last or last.limit == math.huge, "no bucket +Inf: " .. sample.key)
      if sample.name == family.name .. "_count" then
        assert(self.last_inf == sample.value, "the count is not that of +Inf: " .. sample.key)
      end
    end
    self.last_inf = last and last.value or self.last_inf
    if sample.name ~= family.name .. "_bucket" then
      last = nil
    end
  end
end

-- What the gateway's own names keep to.
local function check_name(family)
  local name = family.name
  assert(name:find "^tidegate_[a-z0-9_]+$", "name: " .. name)
  assert((name:find "_total$" ~= nil) == (family.type == "counter"), "_total is for counters: " .. name)
  for _, unit in ipairs { "milliseconds", "_ms", "microseconds", "minutes", "kilobytes", "percent" } do
    assert(not name:gsub("_total$", ""):find(unit .. "$"), "not a base unit: " .. name)
  end
  assert(family.help:find "%.$", "help is a sentence: " .. name)
end

function prometheus.parse(text)
  local self = setmetatable({ families = {}, names = {}, samples = {} }, Metrics)
  assert(text == "" or text:sub(-1) == "\n", "the last line has no end")
  for line in text:gmatch "([^\n]*)\n" do
    local kind, name, rest = line:match "^# (%u+) ([%a_:][%w_:]*) (.*)$"
    if kind == "HELP" or kind == "TYPE" then
      begin_family(self, line, kind, name, rest)
    else
      local sample, labels, value = line:match "^([%a_:][%w_:]*){(.+)} (%S+)$"
      if not sample then
        sample, value = line:match "^([%a_:][%w_:]*) (%S+)$"
      end
      assert(sample, "not a line of the format: " .. line)
      add_sample(self, line, sample, labels and read_labels(labels, line) or {}, value)
    end
  end
  for name, family in pairs(self.families) do
    assert(#family.samples > 0, "a family without samples: " .. name)
    if family.type == "histogram" then
      check_histogram(self, family)
    end
    if name:find "^tidegate_" then
      check_name(family)
    end
  end
  return self
end

local function texts(labels)
  local result = {}
  for name, value in pairs(labels or {}) do
    result[name] = tostring(value)
  end
  return result
end

function Metrics:value(name, labels)
  local sample = self.samples[key_of(name, texts(labels))]
  return sample and sample.value
end

function Metrics:sum(name, labels)
  local wanted, sum, family = texts(labels), 0, self.families[name]
  for _, sample in ipairs(family and family.samples or {}) do
    local fits = true
    for label, value in pairs(wanted) do
      fits = fits and sample.labels[label] == value
    end
    sum = sum + (fits and sample.value or 0)
  end
  return sum
end

-- The samples that may never fall, by their keys.
function Metrics:counters()
  local found = {}
  for _, family in pairs(self.families) do
    if family.type ~= "gauge" then
      for _, sample in ipairs(family.samples) do
        found[sample.key] = sample.value
      end
    end
  end
  return found
end

-- Runs "promtool check <what>" where it is installed, with the text as a file.
function prometheus.promtool(what, text)
  local run = process.run { "sh", "-c", "command -v promtool" }
  if run.exit_code ~= 0 then
    return nil
  end
  local file = paths.write(paths.tmp() .. "/checked", text)
  local command = what == "metrics" and "promtool check metrics <" or "promtool check rules "
  run = process.run({ "sh", "-c", command .. file }, { timeout = 30000 })
  return run.exit_code == 0, run.stdout .. run.stderr
end

return prometheus
