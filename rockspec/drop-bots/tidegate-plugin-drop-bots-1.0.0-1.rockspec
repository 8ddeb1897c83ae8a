rockspec_format = "3.0"
package = "tidegate-plugin-drop-bots"
version = "1.0.0-1"

source = {
  url = "git+https://github.com/tidegate/tidegate.git",
  tag = "v0.1.0",
  dir = "tidegate/rockspec/drop-bots",
}

description = {
  summary = "Keeps what bots and webhooks write away from a bot behind Tidegate",
  homepage = "https://github.com/tidegate/tidegate",
  license = "MIT",
}

dependencies = { "lua >= 5.1, < 5.2" }

build = {
  type = "builtin",
  modules = {
    ["tidegate.plugins.drop-bots.handler"] = "tidegate/plugins/drop-bots/handler.lua",
    ["tidegate.plugins.drop-bots.schema"] = "tidegate/plugins/drop-bots/schema.lua",
  },
}
