rockspec_format = "3.0"
package = "tidegate-plugin-alerts"
version = "1.0.0-1"

source = {
  url = "git+https://github.com/tidegate/tidegate.git",
  tag = "v0.1.0",
  dir = "tidegate/rockspec/alerts",
}

description = {
  summary = "Posts what happens to shards and event handlers of Tidegate to a webhook, in few messages",
  homepage = "https://github.com/tidegate/tidegate",
  license = "MIT",
}

dependencies = { "lua >= 5.1, < 5.2" }

build = {
  type = "builtin",
  modules = {
    ["tidegate.plugins.alerts.handler"] = "tidegate/plugins/alerts/handler.lua",
    ["tidegate.plugins.alerts.schema"] = "tidegate/plugins/alerts/schema.lua",
  },
}
