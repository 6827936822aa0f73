// Apple's Combine, of which snippets name one type, is not on Linux.

public struct AnyPublisher<Output, Failure: Error> {
    public init() {}
}
