// The parts of com.spotify.android:auth that the snippets use, declared as in its source
// (spotify/android-auth: AuthorizationRequest.kt, AuthorizationResponse.kt, PKCEInformation.kt).
// The library itself needs Android.

package com.spotify.sdk.android.auth

data class PKCEInformation(val verifier: String, val challenge: String, val codeChallengeMethod: String)

class AuthorizationResponse internal constructor(val type: Type, val code: String?, val state: String?) {
    enum class Type { CODE, TOKEN, ERROR, EMPTY, CANCELLED, UNKNOWN }
}

class AuthorizationRequest internal constructor() {
    @Suppress("UNUSED_PARAMETER")
    class Builder(clientId: String, responseType: AuthorizationResponse.Type, redirectUri: String) {
        fun setState(state: String?) = apply {}

        fun setScopes(scopes: Array<String>?) = apply {}

        fun setPkceInformation(pkceInformation: PKCEInformation?) = apply {}

        fun build() = AuthorizationRequest()
    }
}
