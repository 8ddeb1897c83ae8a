rockspec_format = "3.0"
package = "tidegate-plugin-allow-guilds"
version = "1.0.0-1"

source = {
  url = "git+https://github.com/tidegate/tidegate.git",
  tag = "v0.1.0",
  dir = "tidegate/rockspec/allow-guilds",
}

description = {
  summary = "Lets a bot behind Tidegate see the events of listed guilds alone",
  homepage = "https://github.com/tidegate/tidegate",
  license = "MIT",
}

dependencies = { "lua >= 5.1, < 5.2" }

build = {
  type = "builtin",
  modules = {
    ["tidegate.plugins.allow-guilds.handler"] = "tidegate/plugins/allow-guilds/handler.lua",
    ["tidegate.plugins.allow-guilds.schema"] = "tidegate/plugins/allow-guilds/schema.lua",
  },
}
