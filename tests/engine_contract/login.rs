//! Many at once on one QR login.

use countersign::core::attempt::{Command, Digest, Outcome, QrId, Sealed, Secret};
use countersign::engine::AttemptRef;
use countersign_protocol::server::QrState;

use crate::attempts::{CLAIM, DEVICE, key, opened, phone, scan};
use crate::stage::{Make, T0, at_once, limits};

/// Tasks released onto one attempt.
const CROWD: usize = 64;

pub async fn one_phone_one_confirmation_one_session(make: Make) {
    let stage = make(limits());
    for n in 1..=8 {
        stage.engine.open_attempt(opened(n, "192.0.2.1")).await.unwrap();
        let topic = stage.follow_attempt(n).await;
        let which = if n % 2 == 0 {
            key(n)
        } else {
            AttemptRef::Id(QrId([n; 16]))
        };

        let scans = at_once(CROWD, |i| {
            let stage = stage.clone();
            async move {
                let phone = phone(&format!("user{i}"), &format!("s{i}"));
                stage
                    .decide(which, T0, &|| scan(n, &phone))
                    .await
                    .unwrap()
                    .step
                    .outcome
                    .is_ok()
            }
        })
        .await;
        assert_eq!(scans.iter().filter(|ok| **ok).count(), 1, "one phone scans");
        let winner = scans.iter().position(|ok| *ok).unwrap();
        let owner = format!("s{winner}");
        assert_eq!(
            stage
                .engine
                .attempts_scanned_by(owner.clone())
                .await
                .unwrap()
                .len(),
            1
        );

        // Everybody confirms, with a token of the right bytes and a ticket of their own.
        let confirmations = at_once(CROWD, |i| {
            let stage = stage.clone();
            async move {
                // Half of them are the winner's, pressed again and again.
                let who = if i % 2 == 0 { winner } else { i };
                let phone = phone(&format!("user{who}"), &format!("s{who}"));
                let ticket = Secret::new(format!("ticket{i}"));
                let confirm = || Command::Confirm {
                    qr_id: QrId([n; 16]),
                    phone: &phone,
                    token: Digest([3; 32]),
                    code: None,
                    ticket: &ticket,
                };
                stage
                    .decide(which, T0, &confirm)
                    .await
                    .unwrap()
                    .step
                    .outcome
                    .is_ok()
            }
        })
        .await;
        assert_eq!(
            confirmations.iter().filter(|ok| **ok).count(),
            1,
            "one confirmation"
        );
        let confirmed = confirmations.iter().position(|ok| *ok).unwrap();
        assert!(
            confirmed % 2 == 0 || confirmed == winner,
            "by the phone that scanned"
        );

        let ticket = format!("ticket{confirmed}");
        let redemptions = at_once(CROWD, |i| {
            let (stage, ticket) = (stage.clone(), ticket.clone());
            async move {
                let (session, result) = (format!("pc{i}"), Sealed::new(format!("result{i}").into_bytes()));
                let redeem = || Command::Redeem {
                    claim: CLAIM,
                    device: DEVICE,
                    ticket: &ticket,
                    session: &session,
                    result: &result,
                };
                stage
                    .decide(which, T0, &redeem)
                    .await
                    .unwrap()
                    .step
                    .outcome
                    .unwrap()
            }
        })
        .await;
        let (mut first, mut again) = (Vec::new(), Vec::new());
        for (i, outcome) in redemptions.into_iter().enumerate() {
            match outcome {
                Outcome::Redeemed(result) => first.push((i, result)),
                Outcome::RedeemedAgain(result) => again.push(result),
                other => panic!("{other:?}"),
            }
        }
        let [(redeemer, result)] = first.as_slice() else {
            panic!("{} redemptions", first.len())
        };
        assert!(
            again.iter().all(|r| r == result),
            "whoever redeems again gets what the first got"
        );
        let look = || Command::Poll {
            claim: CLAIM,
            device: DEVICE,
        };
        let after = stage.decide(which, T0, &look).await.unwrap().attempt;
        assert_eq!(
            (after.state(), after.session()),
            (QrState::Redeemed, Some(format!("pc{redeemer}").as_str()))
        );
        assert!(stage.engine.attempts_scanned_by(owner).await.unwrap().is_empty());

        let told = stage.changes(&topic, 4).await;
        if stage.exact {
            assert_eq!(told.iter().map(|c| c.seq).collect::<Vec<_>>(), [2, 3, 4]);
        }
        for change in told {
            let states = [
                QrState::Waiting,
                QrState::Scanned,
                QrState::Confirmed,
                QrState::Redeemed,
            ];
            assert_eq!(change.state(), states[change.seq as usize - 1]);
        }
    }
    stage.assert_orderly();
}
