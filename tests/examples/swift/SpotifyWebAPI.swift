// The parts of SpotifyAPI that the snippets use, declared as in its source (Peter-Schorn/SpotifyAPI,
// version 4: Authorization/, Authorization/Backends/ and Other/StringExtensions.swift), without bodies.

import Combine
@_exported import Foundation
#if canImport(FoundationNetworking)  // Linux splits Foundation
    @_exported import FoundationNetworking
#endif

public enum Scope: Hashable {
    case userReadEmail, userReadPrivate, playlistReadPrivate, streaming
}

public protocol AuthorizationCodeFlowBackend: Codable {}
public protocol AuthorizationCodeFlowPKCEBackend: Codable {}
public protocol ClientCredentialsFlowBackend: Codable {}
public typealias DecodeServerError = (Data, HTTPURLResponse) -> Error?

public struct AuthorizationCodeFlowProxyBackend: AuthorizationCodeFlowBackend {
    public init(
        clientId: String, tokensURL: URL, tokenRefreshURL: URL,
        decodeServerError: DecodeServerError? = nil
    ) {}
}

public struct AuthorizationCodeFlowPKCEProxyBackend: AuthorizationCodeFlowPKCEBackend {
    public init(
        clientId: String, tokensURL: URL, tokenRefreshURL: URL,
        decodeServerError: DecodeServerError? = nil
    ) {}
}

public struct ClientCredentialsFlowProxyBackend: ClientCredentialsFlowBackend {
    public init(tokensURL: URL, decodeServerError: DecodeServerError? = nil) {}
}

public final class AuthorizationCodeFlowBackendManager<Backend: AuthorizationCodeFlowBackend>: Codable {
    public init(backend: Backend) {}

    public func makeAuthorizationURL(
        redirectURI: URL, showDialog: Bool, state: String? = nil, scopes: Set<Scope>
    ) -> URL? { nil }

    public func requestAccessAndRefreshTokens(
        redirectURIWithQuery: URL, state: String? = nil
    ) -> AnyPublisher<Void, Error> { AnyPublisher() }

    public func refreshTokens(
        onlyIfExpired: Bool, tolerance: Double = 120
    ) -> AnyPublisher<Void, Error> { AnyPublisher() }
}

public final class AuthorizationCodeFlowPKCEBackendManager<Backend: AuthorizationCodeFlowPKCEBackend>: Codable {
    public init(backend: Backend) {}

    public func makeAuthorizationURL(
        redirectURI: URL, codeChallenge: String, state: String?, scopes: Set<Scope>
    ) -> URL? { nil }

    public func requestAccessAndRefreshTokens(
        redirectURIWithQuery: URL, codeVerifier: String, state: String?
    ) -> AnyPublisher<Void, Error> { AnyPublisher() }

    public func refreshTokens(
        onlyIfExpired: Bool, tolerance: Double = 120
    ) -> AnyPublisher<Void, Error> { AnyPublisher() }
}

public final class ClientCredentialsFlowBackendManager<Backend: ClientCredentialsFlowBackend>: Codable {
    public init(backend: Backend) {}

    public func authorize() -> AnyPublisher<Void, Error> { AnyPublisher() }
}

public final class SpotifyAPI<AuthorizationManager> {
    public var authorizationManager: AuthorizationManager
    public let authorizationManagerDidChange = PassthroughSubject<Void, Never>()
    public let authorizationManagerDidDeauthorize = PassthroughSubject<Void, Never>()

    public init(authorizationManager: AuthorizationManager) {
        self.authorizationManager = authorizationManager
    }
}

extension String {
    public static func randomURLSafe(length: Int) -> String { "" }

    public static func makeCodeChallenge(codeVerifier: String) -> String { "" }
}
