// What snippets use of com.spotify.android:auth, declared as in its source (spotify/android-auth,
// AuthorizationRequest.kt, AuthorizationResponse.kt, PKCEInformation.kt): the library needs Android.

package com.spotify.sdk.android.auth

data class PKCEInformation(val verifier: String, val challenge: String, val codeChallengeMethod: String)

class AuthorizationResponse {
    enum class Type { CODE, TOKEN }
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
