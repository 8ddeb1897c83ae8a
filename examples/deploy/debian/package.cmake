# How CPack makes the .deb: `scripts/package`, or `cpack` in a build directory.

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME tidegate)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "Tidegate <tidegate@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Discord gateway daemon, scriptable in Lua")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "Holds a bot's connections to Discord while the bot restarts, crashes, grows and\n"
    "moves: identifies shards, keeps them alive, resumes their sessions, and POSTs each\n"
    "event to the bot, in order, until it has accepted it. Scripts in Lua can change\n"
    "every step.")
string(REPLACE ";" "" CPACK_DEBIAN_PACKAGE_DESCRIPTION "${CPACK_DEBIAN_PACKAGE_DESCRIPTION}")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, ca-certificates, lua-cjson") # and the libraries
set(CPACK_DEBIAN_PACKAGE_SUGGESTS luarocks) # for `tidegate plugin install`
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
foreach(name conffiles postinst prerm postrm)
  list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/${name})
endforeach()
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/stage.cmake)
set(CPACK_STRIP_FILES ON)
# The prefix that the installation writes into the unit is that of the package, not that of the tree it is built in.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
                                                WORLD_READ WORLD_EXECUTE)
include(CPack)
