// The parts of Spotify's iOS SDK that the snippets use, declared as Swift imports its headers
// (spotify/ios-sdk: SPTConfiguration.h, SPTSessionManager.h, SPTSession.h, SPTScope.h), without bodies.

@_exported import Foundation

public struct SPTScope: OptionSet {
    public let rawValue: UInt

    public init(rawValue: UInt) { self.rawValue = rawValue }

    public static let playlistReadPrivate = SPTScope(rawValue: 1 << 0)
    public static let userReadEmail = SPTScope(rawValue: 1 << 9)
    public static let userReadPrivate = SPTScope(rawValue: 1 << 10)
    public static let streaming = SPTScope(rawValue: 1 << 13)
}

public struct AuthorizationOptions: OptionSet {
    public let rawValue: UInt

    public init(rawValue: UInt) { self.rawValue = rawValue }

    public static let `default` = AuthorizationOptions([])
    public static let clientOnly = AuthorizationOptions(rawValue: 1)
}

open class SPTConfiguration: NSObject {
    public init(clientID: String, redirectURL: URL) {}

    public var tokenSwapURL: URL?
    public var tokenRefreshURL: URL?
    public var playURI: String?
}

open class SPTSession: NSObject {
    public var accessToken: String { "" }
    public var refreshToken: String { "" }
    public var expirationDate: Date { Date() }
}

public protocol SPTSessionManagerDelegate: NSObjectProtocol {
    func sessionManager(manager: SPTSessionManager, didInitiate session: SPTSession)
    func sessionManager(manager: SPTSessionManager, didRenew session: SPTSession)
    func sessionManager(manager: SPTSessionManager, didFailWith error: Error)
}

open class SPTSessionManager: NSObject {
    public init(configuration: SPTConfiguration, delegate: SPTSessionManagerDelegate?) {}

    public var session: SPTSession?

    public func initiateSession(
        with scope: SPTScope, options: AuthorizationOptions, campaign: String?
    ) {}

    public func renewSession() {}
}
