rockspec_format = "3.0"
package = "tidegate-plugin-my-plugin"
version = "0.1.0-1"

source = {
  url = "git+https://example.com/tidegate-plugin-my-plugin.git", -- where yours is
  tag = "v0.1.0",
}

description = {
  summary = "Keeps messages of some channels away from the bot",
  license = "MIT",
}

dependencies = { "lua >= 5.1, < 5.2" }

build = {
  type = "builtin",
  modules = {
    ["tidegate.plugins.my-plugin.handler"] = "tidegate/plugins/my-plugin/handler.lua",
    ["tidegate.plugins.my-plugin.schema"] = "tidegate/plugins/my-plugin/schema.lua",
  },
}
