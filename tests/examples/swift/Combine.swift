// The parts of Apple's Combine that the snippets use; Linux has no Combine.

public protocol Publisher<Output, Failure> {
    associatedtype Output
    associatedtype Failure: Error
}

public struct AnyPublisher<Output, Failure: Error>: Publisher {
    public init() {}
}

public final class PassthroughSubject<Output, Failure: Error>: Publisher {
    public init() {}
}

public final class AnyCancellable: Hashable {
    public init() {}

    public func store(in set: inout Set<AnyCancellable>) {}

    public static func == (left: AnyCancellable, right: AnyCancellable) -> Bool { left === right }

    public func hash(into hasher: inout Hasher) {}
}

extension Publisher where Failure == Never {
    public func sink(receiveValue: @escaping (Output) -> Void) -> AnyCancellable { AnyCancellable() }
}

extension Publisher {
    public var values: AsyncThrowingPublisher<Self> { AsyncThrowingPublisher() }
}

public struct AsyncThrowingPublisher<P: Publisher>: AsyncSequence, AsyncIteratorProtocol {
    public typealias Element = P.Output

    public func makeAsyncIterator() -> Self { self }

    public func next() async throws -> P.Output? { nil }
}
