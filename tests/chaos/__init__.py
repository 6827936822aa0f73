"""Faults and load against real processes of the service, with the simulator as Spotify.

`make chaos` runs all of it, `make chaos CHAOS=--short` less of each: the files are named chaos_*
so that `make test` leaves them alone. Everything is on loopback, and bounded in number and time.

    processes     the service and the simulator as processes, with their Linux metrics
    flows         the five flows as requests, valid ones and ones that trigger a fault
    load          clients that count every request and measure it
    crowd         clients that are slow or never read, in a separate process
    proxy         a network between service and simulator that can fail
    resolver      a name server that responds or times out
    blackhole     a network in which an IPv6 address drops packets
    certificates  authorities and certificates made at test time, and a TLS server that records
    receiver      an OTLP receiver: healthy, slow, failing or silent
    inside        the service, which reports its tasks and objects
    report        the results as a Markdown table
"""
