rockspec_format = "3.0"
package = "tidegate-plugin-presence-rotation"
version = "1.0.0-1"

source = {
  url = "git+https://github.com/tidegate/tidegate.git",
  tag = "v0.1.0",
  dir = "tidegate/rockspec/presence-rotation",
}

description = {
  summary = "Changes the presence of a bot behind Tidegate again and again",
  homepage = "https://github.com/tidegate/tidegate",
  license = "MIT",
}

dependencies = { "lua >= 5.1, < 5.2" }

build = {
  type = "builtin",
  modules = {
    ["tidegate.plugins.presence-rotation.handler"] = "tidegate/plugins/presence-rotation/handler.lua",
    ["tidegate.plugins.presence-rotation.schema"] = "tidegate/plugins/presence-rotation/schema.lua",
  },
}
