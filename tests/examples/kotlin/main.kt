// Calls the function of a snippet that its arguments name, each snippet being in a package of its own.

fun main(arguments: Array<String>) {
    val given = arguments.drop(1)
    val answer =
        when (arguments[0]) {
            "pkce-login" -> pkce.login.retrieveTokens(given[0], given[1])
            "pkce-refresh" -> pkce.refresh.refreshTokens(given[0])
            "code-login" -> code.login.retrieveTokens(given[0])
            "code-refresh" -> code.refresh.refreshTokens(given[0])
            "client" -> pkce.client.retrieveAppToken()
            else -> error(arguments[0])
        }
    print(answer)
}
