"""Faults and load against real processes of the service, with the simulator as Spotify.

`make chaos` runs all of it, `make chaos CHAOS=--short` less of each: the files are named chaos_*
so that `make test` leaves them alone. Everything is on loopback, and bounded in number and time.

    processes     the service and the simulator as processes; what Linux knows about them
    flows         the five flows as requests, good ones and ones that ask for a fault
    load          clients that count every request and measure it
    crowd         slow and deaf clients, in a process of their own
    proxy         the network between service and simulator, where it breaks
    resolver      a name server that answers, or doesn't
    blackhole     a network in which an IPv6 address drops packets
    certificates  authorities and certificates made at test time, and a TLS server that keeps all
    receiver      an OTLP receiver: well, slow, failing or mute
    inside        the service with a view into its event loop
    report        what was found, as a Markdown table
"""
