// Package b2bua is a back-to-back user agent: a SIP user agent towards both
// sides of each call. It keeps both dialogs in the store, relays what passes
// between the two far ends, asks a far end for a sign of life when it is told
// to, and releases calls. It reports what came back and judges nothing.
//
// # Where to begin
//
// What comes in is read in reader.go (stream.go for connections), looked at in
// screen.go before it is parsed, brought to its transaction in transactions.go,
// and checked in inbound.go, which says whose it is:
//
//   - A new call is admitted in invite.go. route.go says where it may go,
//     failover.go sends it to one address after the other, answer.go takes the
//     answers, those of forks with fork.go, and acked.go the ACK.
//   - A request inside a call passes through relay.go. translate.go says what
//     changes on its way from one dialog to the other.
//   - What belongs to no call, such as REGISTER, passes through outside.go.
//   - What belongs to a call of another node goes there through forward.go.
//
// call.go holds what all this shares: the turns of a call, in which everything
// that one call does runs, and the one place where CSeq numbers are spent.
// Probes begin in volley.go and probe.go, session timers in session.go and
// renew.go, the end of a call in release.go, and its second life in another
// process in restore.go.
//
// # Rules
//
// Where the rules come from, and what follows them. The names with a package
// are those of [sipvigil/b2bua/dialog] and [sipvigil/b2bua/locate].
//
//	RFC 2181 section 8 → locate.lifetime
//	RFC 2308 section 5 → locate.negative
//	RFC 2308 section 7 → locate.negativeTTL
//	RFC 3261 section 7 → fields.next
//	RFC 3261 section 7.1 → checkRequestLine, goodRequestURI
//	RFC 3261 section 7.2 → goodStatusLine
//	RFC 3261 section 7.3.1 → acceptsSDP, dialog.ReadTag, dialog.SplitList, fields, parseChallenge, repeated
//	RFC 3261 section 7.3.3 → fieldOf, long
//	RFC 3261 section 7.5 → lines.rest
//	RFC 3261 section 8.1.1 → inbound.checkMandatory
//	RFC 3261 section 8.1.1.5 → dialog.CSeq, dialog.Resume, dialog.Start, screen
//	RFC 3261 section 8.1.1.7 → branch
//	RFC 3261 section 8.1.2 → dialog.NextHop, nextHopHost
//	RFC 3261 section 8.1.3.1 → call.onInviteFailed, call.passOver
//	RFC 3261 section 8.2 → inbound
//	RFC 3261 section 8.2.1 → inbound.check
//	RFC 3261 section 8.2.2.1 → checkRequestLine
//	RFC 3261 section 8.2.2.2 → call.askAnew, requestID, transactions.merged
//	RFC 3261 section 8.2.2.3 → inbound.checkRequire
//	RFC 3261 section 8.2.6.1 → Agent.onInvite
//	RFC 3261 section 8.2.6.2 → reply, statelessAnswer
//	RFC 3261 section 8.2.7 → guard, guard.tag, guard.turnAway, inbound.send, statelessTag
//	RFC 3261 section 9.1 → Agent.onLate, call.cancel, call.expire, call.onOwnAnswer, call.tooLate, forwarding.tell, request.sameBranch
//	RFC 3261 section 9.2 → call.cancel, serverTx.respond, transactions.cancel
//	RFC 3261 section 10.2 → Agent.pingRequest, passage.registrars
//	RFC 3261 section 10.2.3 → Agent.pingRequest
//	RFC 3261 section 11 → inbound.isForUs
//	RFC 3261 section 11.1 → Agent.pingRequest, probeTail
//	RFC 3261 section 11.2 → Capabilities, acceptsSDP, inbound.capabilities, inbound.onOptions
//	RFC 3261 section 12 → dialogID, package dialog
//	RFC 3261 section 12.1.1 → Agent.newCallFrom, call.relayed, dialog.RouteSet, dialog.Start
//	RFC 3261 section 12.1.2 → call.learn, dialog.Arrive, dialog.RouteSet, fork
//	RFC 3261 section 12.2 → Agent.Announce, call.refresh
//	RFC 3261 section 12.2.1.1 → dialog.NextHop, dialog.Resume, dialog.Spend
//	RFC 3261 section 12.2.1.2 → call.lost, call.onInviteFailed, call.onRelayed
//	RFC 3261 section 12.2.2 → Agent.Calibrate, call.firstAnswer, call.onRequest, call.owns, dialog.Arrive, dialog.Leap, dialog.Resume, inbound.unknownDialog
//	RFC 3261 section 13.2.2.4 → Agent.decline, Agent.onLate, call.ackLate, call.learn, call.onInviteResponse, call.onRepeated2xx, call.sendAck, fork
//	RFC 3261 section 13.3.1.4 → call.noAck, repetition
//	RFC 3261 section 14.1 → call.announce, call.cancel, call.probeByInvite, glare
//	RFC 3261 section 14.2 → call.crossing
//	RFC 3261 section 15 → call.leave, call.settle
//	RFC 3261 section 15.1.1 → call.byeDone, call.onBye
//	RFC 3261 section 15.1.2 → Agent.outOfDialog, call.onBye, call.settle, call.stopTransits
//	RFC 3261 section 16 → passage
//	RFC 3261 section 16.3 → Agent.loops, passage.admit
//	RFC 3261 section 16.4 → inbound.takeRoute
//	RFC 3261 section 16.5 → passage.find
//	RFC 3261 section 16.6 → passage.addOwn, passage.request
//	RFC 3261 section 16.7 → Agent.forward, forwarding.back, passage.answered
//	RFC 3261 section 16.8 → forwarding
//	RFC 3261 section 16.9 → passage.unanswered
//	RFC 3261 section 17 → screen
//	RFC 3261 section 17.1 → clientTx
//	RFC 3261 section 17.1.1.3 → request.refusedAck
//	RFC 3261 section 17.1.2 → quickProbe
//	RFC 3261 section 17.1.2.2 → clientTx.wake, quickProbe.wake, quickProbes.repeat
//	RFC 3261 section 17.1.3 → clientKey, transactions
//	RFC 3261 section 17.2 → serverTx
//	RFC 3261 section 17.2.1 → tryingAfter
//	RFC 3261 section 17.2.3 → serverKey, serverKeyOf, transactions
//	RFC 3261 section 18.1.1 → maxDatagram
//	RFC 3261 section 18.2.1 → Finding.read, appendTopVia, received.appendVia
//	RFC 3261 section 18.2.2 → appendTopVia, response.returnPath, stream.answer
//	RFC 3261 section 18.3 → bodyLength, checkFields, delimited, lines
//	RFC 3261 section 18.4 → Agent.undelivered
//	RFC 3261 section 19.1.1 → Agent.pingRequest, dialog.URI, dialog.URI.Header, dialog.forRequest, inbound.checkMandatory
//	RFC 3261 section 19.1.2 → defaultPort
//	RFC 3261 section 19.1.4 → numberOf, sameName
//	RFC 3261 section 19.3 → dialog.MintTag
//	RFC 3261 section 20.10 → dialog.ParseAddr
//	RFC 3261 section 20.14 → bodyLength
//	RFC 3261 section 20.16 → dialog.CSeq, goodCSeq
//	RFC 3261 section 20.33 → retryAfter
//	RFC 3261 section 21.4.1 → bad
//	RFC 3261 section 21.5.4 → noChannel, noLink, nothingLeft, transactions.tooMany
//	RFC 3261 section 21.5.6 → screen
//	RFC 3261 section 21.5.14 → lines.next
//	RFC 3261 section 22.1 → attempt.refused, attempt.vouch, challenge.sameDomain
//	RFC 3261 section 22.2 → call.challenged, challenges, ping.challenged
//	RFC 3261 section 22.3 → account, challenges
//	RFC 3261 section 22.4 → account.authorize
//	RFC 3261 section 25.1 → authParams, dialog.Addr, dialog.ParseAddr, dialog.URI.parseSIP, dialog.checkText, dialog.closing, dialog.comment, dialog.escape, dialog.inURI, dialog.isCallID, dialog.isHost, dialog.isSpace, dialog.isToken, dialog.routeURI, goodHostPort, goodVia, isNumber, socket, tidyVia
//	RFC 3261 section 26.2.2 → locate.search.allow
//	RFC 3262 section 3 → call.across, call.translateRAck, isReliable
//	RFC 3262 section 7.1 → dialog.RAck
//	RFC 3262 section 7.2 → call.translateRAck, dialog.FormatRAck, dialog.RAck
//	RFC 3263 section 4 → locate.search.hops
//	RFC 3263 section 4.1 → locate.pointed, locate.search.allow, locate.search.hops, locate.search.services
//	RFC 3263 section 4.2 → locate.search.hops, locate.serviceName
//	RFC 3263 section 4.3 → Agent.Inquire, Agent.sendAround, call.moveOn, call.onRefused, call.try, failoverTime, transactions.merged
//	RFC 3264 section 9 → codecs, describe
//	RFC 3311 section 5.1 → call.announce, call.onRelayed, call.probeRefreshed
//	RFC 3311 section 5.2 → call.crossing, call.pending
//	RFC 3325 section 5 → crossing.asserted
//	RFC 3325 section 6 → crossing.preferred
//	RFC 3325 section 7 → crossing.asserted
//	RFC 3325 section 9.3 → crossing.private
//	RFC 3326 section 2 → call.sendCancel, reasonHeader
//	RFC 3327 section 5.2 → passage.addOwn
//	RFC 3398 section 8.2.6.1 → reasonHeader
//	RFC 3403 section 4.1 → locate.search.pointers
//	RFC 3515 section 2.4.4 → call.subscribing, subscription
//	RFC 3515 section 2.4.6 → call.subscription, crossing.event
//	RFC 3551 section 6 → audiovisual
//	RFC 3581 section 3 → Agent.appendVia
//	RFC 3581 section 4 → appendTopVia, inbound.behindNAT, received.appendVia, response.returnPath, via
//	RFC 3891 section 3 → Agent.named, badReference
//	RFC 3891 section 4 → Agent.takeover
//	RFC 3891 section 6.1 → Agent.named, badReference, dialog.Ref.Is, dialog.Replaces
//	RFC 3911 section 4 → badReference
//	RFC 3911 section 7.1 → dialog.Replaces
//	RFC 3966 section 3 → dialog.URI
//	RFC 4007 section 11.2 → zoned
//	RFC 4028 section 4 → dialog.FormatSessionExpires, dialog.SessionExpires
//	RFC 4028 section 5 → dialog.MinSE, dialog.ShortestSession, dialog.Timer.TooShort
//	RFC 4028 section 7.1 → call.keepTimer
//	RFC 4028 section 7.2 → call.renewed, dialog.Negotiate, dialog.SessionDue
//	RFC 4028 section 7.3 → call.raised
//	RFC 4028 section 7.4 → call.announce, call.keepTimer, call.probe, call.probeRefreshed, call.raise, call.renew, dialog.SessionAsked
//	RFC 4028 section 8.3 → call.onClock
//	RFC 4028 section 9 → call.negotiated, dialog.Negotiate, dialog.Timer.TooShort, dialog.Timer.refresher, inbound.tooShort
//	RFC 4028 section 10 → call.onClock, call.onRenewal, call.putsOff, call.renewAgain, call.sessionDue, dialog.SessionMargin
//	RFC 4320 section 4.1 → Agent.outside, call.relay, passage.answered
//	RFC 4320 section 4.2 → Agent.forwardOnce, call.onRelayed, passage.answered, passage.unanswered
//	RFC 4475 section 3.1.2.3 → stream.readOne
//	RFC 4475 section 3.1.2.8 → screen
//	RFC 4475 section 3.3.8 → repeated
//	RFC 4475 section 3.3.9 → stream.readOne
//	RFC 4475 section 3.3.10 → isUnicast
//	RFC 4488 section 4 → call.accepted
//	RFC 4538 section 3 → crossing.targetDialog
//	RFC 4538 section 7 → dialog.TargetDialog
//	RFC 4648 section 7 → dialog.base32hex
//	RFC 5057 section 5.1 → call.onRelayed, inbound.later
//	RFC 5057 section 5.5 → call.outlives
//	RFC 5118 section 4.2 → goodRequestURI
//	RFC 5393 section 4.2 → Agent.loops
//	RFC 5393 section 4.2.1 → inbound.loopMark
//	RFC 5393 section 4.2.2 → inbound.looped
//	RFC 5407 section 3.1.2 → call.tooLate
//	RFC 5407 section 3.1.4 → call.onReinvite
//	RFC 5407 section 3.2.1 → Agent.elsewhere, Agent.noCall
//	RFC 5407 section 3.2.2 → call.onRequest
//	RFC 5626 section 3.1 → dialog.Flow
//	RFC 5626 section 3.5.1 → Agent.pingStream, frames.next, lines.rest, screen
//	RFC 5626 section 4.3 → inbound.keepsWay
//	RFC 5626 section 4.4.1 → Agent.pingStream, stream.ping, stream.pinged
//	RFC 5626 section 5.1 → inbound.firstHop, passage.addOwn
//	RFC 5626 section 5.2 → dialog.MintFlow, dialog.flowCheckSize
//	RFC 5626 section 5.3 → inbound.takeRoute
//	RFC 5626 section 5.3.1 → badToken
//	RFC 5626 section 5.4 → passage.addOwn
//	RFC 5630 section 3.1.4 → transportParam
//	RFC 5922 section 7.1 → identities
//	RFC 5922 section 7.2 → names
//	RFC 5922 section 7.3 → Agent.clientTLS
//	RFC 6026 section 7.1 → serverTx, serverTx.respond
//	RFC 6026 section 7.2 → clientTx
//	RFC 6141 section 4.3 → call.refresh
//	RFC 6141 section 4.6 → call.onProvisional
//	RFC 6141 section 4.7 → call.onProvisional
//	RFC 6223 section 4.4 → inbound.keepAlives
//	RFC 6455 section 5.5.1 → frames.control
//	RFC 6455 section 5.5.2 → frames.control
//	RFC 6665 section 4.1.2 → call.accepted
//	RFC 6665 section 4.2.2 → endsSubscription
//	RFC 6665 section 4.3 → inbound.subscribes
//	RFC 6665 section 8.2.1 → dialog.Event
//	RFC 6761 section 6.3 → locate.hosts
//	RFC 7118 section 4.1 → subprotocol
//	RFC 7118 section 4.2 → frame
//	RFC 7118 section 5 → delimited, frames
//	RFC 7118 section 5.2 → transportParam
//	RFC 7332 section 4 → Agent.loops
//	RFC 7332 section 5 → forwards
//	RFC 7614 section 4 → withoutSubscription
//	RFC 7614 section 5 → withoutSubscription
//	RFC 7616 section 3.3 → isMD5, parseChallenge
//	RFC 7989 section 4.1 → madeUUID, sessionSpace
//	RFC 7989 section 5 → readSession
//	RFC 7989 section 7 → call.addSession, call.ownSession, call.relaySession, request.sameBranch
//	RFC 7989 section 8 → call.acceptSession, call.relaySession
//	RFC 7989 section 11 → call.addSession, call.relaySession
//	RFC 8224 section 4 → numbers.apply, passed
//	RFC 8760 section 2.1 → knownAlgorithm
//	RFC 8760 section 2.4 → challenges
//	RFC 8767 section 4 → locate.failureTTL
//	RFC 8767 section 5 → locate.hostsTTL
//	RFC 8866 section 5.14 → mediaOf
package b2bua
