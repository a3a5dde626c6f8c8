// Package ua is a scripted SIP endpoint over real sockets: a phone, a carrier,
// a PBX that answers, rejects, forgets its calls, falls silent or vanishes, as
// it is told. End-to-end tests put it on both sides of sipvigil, and the demo
// uses it for its sample phones.
//
// It shares no code with sipvigil's own SIP, on purpose: an instrument that has
// the same faults as what it measures shows none of them. Message, parser and
// transactions are its own and as small as the job allows.
//
// A phone owns one socket (UDP, or a listener and its connections for TCP and
// TLS, or the WebSockets that it opens), one
// goroutine that reads it, and any number of dialogs, which cost no goroutine
// while they rest. Outgoing calls and handlers of incoming ones run in their
// own goroutines; Close ends them and waits.
//
//	alice, err := ua.Listen(ua.Config{User: "alice"})
//	bob, err := ua.Listen(ua.Config{User: "bob"})
//	call := alice.Dial(daemon, bob.URI(), ua.Offer{SDP: ua.SDP(40000)})
//	in, err := bob.Invited(ctx)
//	in.Ring(180)
//	theirs, err := in.Accept(ua.SDP(40002))
//	ours, err := call.Wait(ctx)
//	theirs.Forget()                                  // 481 from now on
//	bye, err := ours.Wait(ctx, ua.Method("BYE"))     // the daemon noticed
//	err = ours.CheckCSeq()
//
// It follows RFC 3261 for transactions (section 17), dialogs (section 12) and
// the 2xx that is repeated until its ACK (section 13.3.1.4), RFC 3262 for
// reliable provisional responses, RFC 3311 for UPDATE and RFC 3581 for rport.
// It does not authenticate, look names up in DNS beyond addresses, or play media.
package ua
