-- gateway.metrics: counters, gauges and histograms that live through reloads.
--
--   local seen = gateway.metrics.counter("seen", { help = "Messages seen.", labels = { kind = "a" } })
--   seen:add()      gauge:set(3)      histogram:observe(12.5)

local core = require "tidegate.core"

local metrics = {}

for _, kind in ipairs { "counter", "gauge", "histogram" } do
  metrics[kind] = function(name, options)
    if type(name) ~= "string" then error(("gateway.metrics.%s: expected a name"):format(kind), 2) end
    options = options or {}
    return core.metric(kind, name, options.help, options.labels, options.buckets)
  end
end

return metrics
