// Calls the function of the snippet that the first argument names, and prints the tokens as JSON.

import kotlinx.coroutines.runBlocking
import org.json.JSONObject

fun main(arguments: Array<String>) = runBlocking {
    val tokens =
        when (arguments[0]) {
            "retrieve" -> app.retrieveTokens(arguments[1], arguments[2])
            "refresh" -> app.refreshTokens(arguments[1])
            "app" -> app.retrieveAppToken()
            else -> error(arguments[0])
        }
    val json = JSONObject().put("access_token", tokens.accessToken).put("expires_in", tokens.expiresIn)
    println(json.put("refresh_token", tokens.refreshToken))
}
