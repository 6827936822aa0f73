// Calls the function of the snippet that the first argument names.

fun main(arguments: Array<String>) {
    val given = arguments.drop(1)
    val response =
        when (arguments[0]) {
            "retrieve" -> app.retrieveTokens(given[0], given[1])
            "refresh" -> app.refreshTokens(given[0])
            "app" -> app.retrieveAppToken()
            else -> error(arguments[0])
        }
    print(response)
}
