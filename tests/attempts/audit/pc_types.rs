//! Where the PC types the number: its own changes and ends are on record, and those that come of waiting too long.

use serde_json::{Value, json};

use super::{World, check_records, start};
use crate::common::qr::{confirm, deny, scan, text};
use crate::common::{Client, Person};

/// A code that was scanned: its place among all, its number, scan token, digits, and what proves the claim.
struct Scanned {
    at: usize,
    qr_id: String,
    token: String,
    digits: String,
    claim: Value,
}

async fn scanned(world: &mut World, pc: &mut Client, phone: &Person) -> Scanned {
    let (at, opened) = world.open(pc).await;
    let qr_id = world.newest(at);
    let answer = scan(phone, &qr_id).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let token = text(&answer["scan_token"]);
    world.secrets.push(token.clone());
    let told = world.until(pc, at, "scanned").await;
    assert_eq!(told["match"], json!({"mode": "pc_types"}));
    Scanned {
        at,
        qr_id,
        token,
        digits: text(&answer["match"]["code"]),
        claim: json!({"qr_id": opened["qr_id"], "claim": opened["claim"]}),
    }
}

impl Scanned {
    fn with(&self, name: &str, value: &str) -> Value {
        let mut fields = self.claim.clone();
        fields[name] = json!(value);
        fields
    }

    fn wrong(&self) -> Value {
        self.with("code", if self.digits == "00" { "01" } else { "00" })
    }

    /// The right digits, twice as after a lost reply, and the phone's yes; answers the ticket.
    async fn confirmed(&self, world: &mut World, pc: &mut Client, phone: &Person) -> String {
        pc.ok("qr.answer", self.with("code", &self.digits)).await;
        assert_eq!(world.until(pc, self.at, "scanned").await["matched"], true);
        pc.ok("qr.answer", self.with("code", &self.digits)).await;
        let answer = confirm(phone, &self.qr_id, &self.token, None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let ticket = text(&world.until(pc, self.at, "confirmed").await["ticket"]);
        world.secrets.push(ticket.clone());
        ticket
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_pc_typed_and_what_ran_out_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let qr = "match_mode = \"pc_types\"\nscanned_ms = 15000\nconfirmed_ms = 15000\n";
    let (process, mut world) = start(folder.path(), qr);
    let (alice, bob) = (world.person("alice").await, world.person("bobby").await);
    let mut pc = Client::connect(world.addr).await;

    // Two whose time runs out while the others happen.
    let mut idle = [
        Client::connect(world.addr).await,
        Client::connect(world.addr).await,
    ];
    let [unconfirmed_pc, unredeemed_pc] = &mut idle;
    let unconfirmed = scanned(&mut world, unconfirmed_pc, &alice).await;
    let unredeemed = scanned(&mut world, unredeemed_pc, &bob).await;
    unredeemed.confirmed(&mut world, unredeemed_pc, &bob).await;

    // Signed in after a wrong number; wrong too often; taken back after the yes.
    let one = scanned(&mut world, &mut pc, &alice).await;
    assert_eq!(confirm(&alice, &one.qr_id, &one.token, None).await.status, 422);
    assert_eq!(pc.refused("qr.answer", one.wrong()).await["code"], "match_failed");
    let ticket = one.confirmed(&mut world, &mut pc, &alice).await;
    let mut stranger = Client::connect(world.addr).await;
    let failed = scanned(&mut world, &mut stranger, &bob).await;
    for _ in 0..3 {
        let refused = stranger.refused("qr.answer", failed.wrong()).await;
        assert_eq!(refused["code"], "match_failed");
    }
    world.until(&mut stranger, failed.at, "denied").await;
    let taken_back = scanned(&mut world, &mut stranger, &bob).await;
    taken_back.confirmed(&mut world, &mut stranger, &bob).await;
    let denied = deny(&bob, &taken_back.qr_id, &taken_back.token).await;
    assert_eq!(denied.status, 200, "{}", denied.text());
    world.until(&mut stranger, taken_back.at, "denied").await;
    let tokens = pc.ok("qr.redeem", one.with("ticket", &ticket)).await;
    world.secrets.push(text(&tokens["access_token"]));
    world.secrets.push(text(&tokens["refresh_token"]));
    world.until(&mut pc, one.at, "redeemed").await;

    world.until(unconfirmed_pc, unconfirmed.at, "expired").await;
    world.until(unredeemed_pc, unredeemed.at, "expired").await;
    let records = check_records(process, &world, "pc").await;

    let of = |event: &str| {
        let of = records.iter().filter(|r| r.field("event") == event);
        let mut of: Vec<_> = of
            .map(|r| (r.field("from"), r.field("to"), r.field("reason")))
            .collect();
        of.sort_unstable();
        of
    };
    assert_eq!(of("matched"), [("scanned", "scanned", ""); 3]);
    assert_eq!(
        of("denied"),
        [
            ("confirmed", "denied", "user"),
            ("scanned", "denied", "match_failed")
        ]
    );
    assert_eq!(
        of("expired"),
        [
            ("confirmed", "expired", "unredeemed"),
            ("scanned", "expired", "unconfirmed")
        ]
    );
}
