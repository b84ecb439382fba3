//! A little gateway without time or sockets, and clients that use it at random: valid histories of any shape.
//! What clients see is late, cut off, dropped and told, recovered or not, but never wrong.

use std::collections::{BTreeMap, VecDeque};

use countersign_loadtest::history::line::{Counts, Line, Message};
use countersign_loadtest::history::{DIGEST, VERSION};

/// Most messages a join recovers.
const RECOVERED_MAX: u64 = 20;
/// Messages a join brings that does not recover.
const NEWEST: u64 = 5;

/// Numbers that are random enough, and the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % n.max(1) as u64).unwrap()
    }
}

#[derive(Default)]
struct Room {
    lives: usize,
    messages: Vec<Message<'static>>,
    likes: u64,
    version: u64,
    members: Vec<usize>,
}

struct Client {
    file: usize,
    number: u64,
    user: Option<String>,
    next_id: u64,
    open: bool,
    /// What the gateway sent and nobody has read.
    queue: VecDeque<Line<'static>>,
    /// Position in each room, as the client knows it.
    at: BTreeMap<usize, (String, u64)>,
}

struct Sent {
    user: String,
    room: usize,
    life: usize,
    cid: Option<String>,
    body: String,
}

pub(crate) struct Model {
    random: Random,
    now: u64,
    files: Vec<Vec<Line<'static>>>,
    rooms: Vec<Room>,
    clients: Vec<Client>,
    sent: Vec<Sent>,
    /// Where clients that are gone stood.
    left: Vec<(usize, String, u64)>,
}

fn room_name(room: usize) -> String {
    format!("chat:r{room}")
}

/// A valid history: `steps` random steps of clients in so many files.
pub(crate) fn history(seed: u64, steps: usize, files: usize) -> Vec<Vec<Line<'static>>> {
    let mut model = Model {
        random: Random::new(seed),
        now: 1_000,
        files: vec![Vec::new(); files],
        rooms: (0..3).map(|_| Room::default()).collect(),
        clients: Vec::new(),
        sent: Vec::new(),
        left: Vec::new(),
    };
    for file in 0..files {
        model.files[file].push(Line {
            version: Some(VERSION),
            clock: Some("model".into()),
            digest: Some(DIGEST.into()),
            ..Line::new("history", 0)
        });
    }
    for _ in 0..steps {
        model.step();
    }
    model.end();
    model.files
}

impl Model {
    fn step(&mut self) {
        self.now += 1 + self.random.below(5) as u64;
        let open: Vec<usize> = (0..self.clients.len())
            .filter(|c| self.clients[*c].open)
            .collect();
        if open.len() < 3 || (open.len() < 9 && self.random.below(20) == 0) {
            return self.connect();
        }
        let client = open[self.random.below(open.len())];
        let room = self.random.below(self.rooms.len());
        let joined = self.rooms[room].members.contains(&client);
        match self.random.below(100) {
            0..30 => self.read(client),
            30..70 if joined => self.send(client, room),
            70..76 if joined => self.like(client, room),
            76..80 if joined => self.leave(client, room),
            80..84 if joined => self.page(client, room),
            84..88 => self.thin(client),
            88..90 => self.cut(client),
            90..92 => self.forget(room),
            _ if !joined => self.join(client, room),
            _ => self.read(client),
        }
    }

    fn write(&mut self, client: usize, line: Line<'static>) {
        let file = self.clients[client].file;
        self.files[file].push(line);
    }

    fn connect(&mut self) {
        let number = self.clients.len() as u64 + 1;
        let user = (self.random.below(4) > 0).then(|| format!("u{}", self.random.below(4)));
        let client = Client {
            file: self.random.below(self.files.len()),
            number,
            user: user.clone(),
            next_id: 1,
            open: true,
            queue: VecDeque::new(),
            at: BTreeMap::new(),
        };
        self.clients.push(client);
        // Half of them sign in by a command.
        let at_once = self.random.below(2) == 0;
        let line = Line {
            user: user.clone().filter(|_| at_once).map(Into::into),
            ..Line::on("connect", self.now, number)
        };
        let client = self.clients.len() - 1;
        self.write(client, line);
        if let (Some(user), false) = (user, at_once) {
            let id = self.invoke(client, Line::default(), "auth", None);
            let ok = Line {
                user: Some(user.into()),
                ..self.ok(client, id)
            };
            self.clients[client].queue.push_back(ok);
        }
    }

    fn invoke(&mut self, client: usize, line: Line<'static>, op: &'static str, room: Option<usize>) -> u64 {
        let id = self.clients[client].next_id;
        self.clients[client].next_id += 1;
        let line = Line {
            e: "invoke".into(),
            at: self.now,
            conn: Some(self.clients[client].number),
            id: Some(id),
            op: Some(op.into()),
            room: room.map(|room| room_name(room).into()),
            ..line
        };
        self.write(client, line);
        id
    }

    fn ok(&self, client: usize, id: u64) -> Line<'static> {
        Line {
            id: Some(id),
            ..Line::on("ok", 0, self.clients[client].number)
        }
    }

    fn epoch(&self, room: usize) -> String {
        format!("e{room}-{}", self.rooms[room].lives)
    }

    fn counts(&self, room: usize) -> Counts {
        let room = &self.rooms[room];
        Counts {
            version: room.version,
            viewers: room.members.len() as u64,
            members: 0,
            counters: BTreeMap::from([("likes".to_owned(), room.likes)]),
        }
    }

    fn push_counts(&mut self, room: usize) {
        self.rooms[room].version += 1;
        for client in self.rooms[room].members.clone() {
            let line = Line {
                room: Some(room_name(room).into()),
                counts: Some(self.counts(room)),
                ..Line::on("counts", 0, self.clients[client].number)
            };
            self.clients[client].queue.push_back(line);
        }
    }

    fn join(&mut self, client: usize, room: usize) {
        let own = self.clients[client].at.get(&room).cloned();
        let others: Vec<_> = self.left.iter().filter(|l| l.0 == room).cloned().collect();
        let after = match self.random.below(3) {
            // What is queued would be read after the question.
            0 if self.clients[client].queue.is_empty() => own,
            1 if !others.is_empty() => {
                let (_, epoch, offset) = others[self.random.below(others.len())].clone();
                Some((epoch, offset))
            }
            _ => None,
        };
        let line = Line {
            after_epoch: after.as_ref().map(|a| a.0.clone().into()),
            after_offset: after.as_ref().map(|a| a.1),
            ..Line::default()
        };
        let id = self.invoke(client, line, "join", Some(room));
        self.rooms[room].members.push(client);
        let epoch = self.epoch(room);
        let top = self.rooms[room].messages.len() as u64;
        let recovered = after
            .as_ref()
            .map(|(e, o)| *e == epoch && *o <= top && top - o <= RECOVERED_MAX);
        let from = match &after {
            Some((_, offset)) if recovered == Some(true) => *offset,
            _ => top.saturating_sub(NEWEST),
        };
        let messages = self.rooms[room].messages[usize::try_from(from).unwrap()..].to_vec();
        let reply = Line {
            epoch: Some(epoch.into()),
            offset: Some(top),
            recovered,
            messages,
            counts: Some(self.counts(room)),
            ..self.ok(client, id)
        };
        self.clients[client].queue.push_back(Line {
            room: Some(room_name(room).into()),
            ..reply
        });
    }

    fn send(&mut self, client: usize, room: usize) {
        let Some(user) = self.clients[client].user.clone() else {
            return;
        };
        let life = self.rooms[room].lives;
        let again: Vec<usize> = (0..self.sent.len())
            .filter(|s| self.sent[*s].user == user && self.sent[*s].room == room)
            .filter(|s| self.sent[*s].life == life && self.sent[*s].cid.is_some())
            .collect();
        let (cid, body) = if !again.is_empty() && self.random.below(6) == 0 {
            let sent = &self.sent[again[self.random.below(again.len())]];
            (sent.cid.clone(), sent.body.clone())
        } else {
            let n = self.sent.len();
            let cid = (self.random.below(2) == 0).then(|| format!("c{n}"));
            // Some bodies are sent more than once.
            (cid, format!("b{}", n - self.random.below(2).min(n)))
        };
        let line = Line {
            body: Some(body.clone().into()),
            msg: Some(body.clone().into()),
            cid: cid.clone().map(Into::into),
            ..Line::default()
        };
        let id = self.invoke(client, line, "send", Some(room));
        let reply = match self.random.below(12) {
            0 => Line {
                shed: true,
                ..self.ok(client, id)
            },
            1 => Line {
                e: "error".into(),
                code: Some("rate_limited".into()),
                ..self.ok(client, id)
            },
            _ => self.append(client, room, id, (user, cid, body)),
        };
        self.clients[client].queue.push_back(reply);
    }

    fn append(
        &mut self,
        client: usize,
        room: usize,
        id: u64,
        (user, cid, body): (String, Option<String>, String),
    ) -> Line<'static> {
        let same = |m: &Message<'_>| {
            cid.is_some() && m.cid.as_deref() == cid.as_deref() && m.user.as_deref() == Some(&*user)
        };
        if let Some(first) = self.rooms[room].messages.iter().find(|m| same(m)) {
            return Line {
                offset: Some(first.offset),
                duplicate: true,
                ..self.ok(client, id)
            };
        }
        let offset = self.rooms[room].messages.len() as u64 + 1;
        let message = Message {
            offset,
            user: Some(user.clone().into()),
            cid: cid.clone().map(Into::into),
            msg: Some(body.clone().into()),
            body: body.clone().into(),
            source: None,
        };
        self.rooms[room].messages.push(message.clone());
        let life = self.rooms[room].lives;
        self.sent.push(Sent {
            user,
            room,
            life,
            cid,
            body,
        });
        for member in self.rooms[room].members.clone() {
            let line = Line {
                room: Some(room_name(room).into()),
                offset: Some(offset),
                user: message.user.clone(),
                cid: message.cid.clone(),
                msg: message.msg.clone(),
                body: Some(message.body.clone()),
                ..Line::on("message", 0, self.clients[member].number)
            };
            self.clients[member].queue.push_back(line);
        }
        Line {
            offset: Some(offset),
            ..self.ok(client, id)
        }
    }

    fn like(&mut self, client: usize, room: usize) {
        let n = 1 + self.random.below(5) as u64;
        let line = Line {
            n: Some(n),
            ..Line::default()
        };
        let id = self.invoke(client, line, "like", Some(room));
        self.rooms[room].likes += n;
        let ok = Line {
            value: Some(self.rooms[room].likes),
            ..self.ok(client, id)
        };
        self.clients[client].queue.push_back(ok);
        if self.random.below(2) == 0 {
            self.push_counts(room);
        }
    }

    fn leave(&mut self, client: usize, room: usize) {
        let id = self.invoke(client, Line::default(), "leave", Some(room));
        self.rooms[room].members.retain(|c| *c != client);
        let ok = self.ok(client, id);
        self.clients[client].queue.push_back(ok);
    }

    fn page(&mut self, client: usize, room: usize) {
        let all = self.rooms[room].messages.len();
        let from = self.random.below(all + 1);
        let newest = self.random.below(2) == 0;
        let line = Line {
            after_offset: (!newest).then_some(from as u64),
            ..Line::default()
        };
        let id = self.invoke(client, line, "history", Some(room));
        let from = if newest { all.saturating_sub(10) } else { from };
        let reply = Line {
            epoch: Some(self.epoch(room).into()),
            messages: self.rooms[room].messages[from..all.min(from + 10)].to_vec(),
            ..self.ok(client, id)
        };
        self.clients[client].queue.push_back(reply);
    }

    /// The client is slow: a run of what is queued for it is dropped and told.
    fn thin(&mut self, client: usize) {
        let queue = &mut self.clients[client].queue;
        let Some(from) = queue.iter().position(|line| line.e == "message") else {
            return;
        };
        let room = queue[from].room.clone();
        let run = queue.iter().skip(from);
        let run = run
            .take_while(|line| line.e == "message" && line.room == room)
            .count();
        let dropped: Vec<Line<'static>> = queue.drain(from..from + run).collect();
        let gap = Line {
            room,
            first: dropped[0].offset,
            last: dropped[run - 1].offset,
            ..Line::on("gap", 0, self.clients[client].number)
        };
        self.clients[client].queue.insert(from, gap);
    }

    fn read(&mut self, client: usize) {
        for _ in 0..=self.random.below(8) {
            self.read_one(client);
        }
    }

    fn read_one(&mut self, client: usize) -> bool {
        let Some(mut line) = self.clients[client].queue.pop_front() else {
            return false;
        };
        self.now += 1;
        line.at = self.now;
        let room = (0..self.rooms.len()).find(|r| line.room.as_deref() == Some(&*room_name(*r)));
        if let Some(room) = room {
            let at = &mut self.clients[client].at;
            match line.e.as_ref() {
                "ok" => {
                    let epoch = line.epoch.as_deref().unwrap().to_owned();
                    at.insert(room, (epoch, line.offset.unwrap()));
                }
                "message" => at.get_mut(&room).unwrap().1 = line.offset.unwrap(),
                "gap" => at.get_mut(&room).unwrap().1 = line.last.unwrap(),
                _ => {}
            }
        }
        self.write(client, line);
        true
    }

    fn cut(&mut self, client: usize) {
        for room in &mut self.rooms {
            room.members.retain(|c| *c != client);
        }
        let state = &mut self.clients[client];
        state.open = false;
        state.queue.clear();
        let positions = std::mem::take(&mut state.at);
        self.left.extend(
            positions
                .into_iter()
                .map(|(room, (epoch, offset))| (room, epoch, offset)),
        );
        let line = Line::on("close", self.now, self.clients[client].number);
        self.write(client, line);
    }

    /// An empty room is forgotten; at times all leave so that it is.
    fn forget(&mut self, room: usize) {
        if self.random.below(3) == 0 {
            for client in self.rooms[room].members.clone() {
                self.leave(client, room);
            }
        }
        if self.rooms[room].members.is_empty() {
            let lives = self.rooms[room].lives + 1;
            self.rooms[room] = Room {
                lives,
                ..Room::default()
            };
        }
    }

    /// Everything arrives.
    fn end(&mut self) {
        for room in 0..self.rooms.len() {
            self.push_counts(room);
        }
        for client in 0..self.clients.len() {
            while self.read_one(client) {}
        }
        self.now += 1;
        let files = self.files.len();
        for file in 0..files {
            let line = Line {
                since: Some(self.now),
                // With clients in several files none alone knows how many there are.
                what: (files == 1).then(|| "counts".into()),
                ..Line::new("quiet", self.now)
            };
            self.files[file].push(line);
        }
    }
}
