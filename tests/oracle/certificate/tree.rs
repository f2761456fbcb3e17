//! DER as a tree, to be changed at one place.

use crate::random::Random;

/// A value; what is inside another, also as the bytes of a string, hangs below it.
#[derive(Clone)]
pub(crate) struct Node {
    tag: u8,
    content: Content,
    length: Length,
}

#[derive(Clone)]
enum Content {
    Bytes(Vec<u8>),
    /// What goes before them: the first byte of a bit string.
    Nodes(Vec<u8>, Vec<Node>),
}

/// How the length is written.
#[derive(Clone, Copy)]
enum Length {
    Right,
    /// In more bytes than it needs.
    Long,
    Off(isize),
    /// As the older standard allows it: until two zeros.
    Indefinite,
}

impl Node {
    /// `None` where it is no single value.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let mut nodes = read_all(der)?;
        let node = nodes.pop()?;
        nodes.is_empty().then_some(node)
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        let content = match &self.content {
            Content::Bytes(bytes) => bytes.clone(),
            Content::Nodes(before, nodes) => {
                let inside = nodes.iter().flat_map(Self::der);
                before.iter().copied().chain(inside).collect()
            }
        };
        let length = content.len();
        let mut der = vec![self.tag];
        match self.length {
            Length::Right => write_length(&mut der, length),
            Length::Off(by) => write_length(&mut der, length.saturating_add_signed(by)),
            Length::Long if length < 0x80 => der.extend([0x81, length as u8]),
            Length::Long => der.extend([0x83, 0, (length >> 8) as u8, length as u8]),
            Length::Indefinite => der.push(0x80),
        }
        der.extend(content);
        if matches!(self.length, Length::Indefinite) {
            der.extend([0, 0]);
        }
        der
    }

    /// Writes the signature's algorithm outside of what is signed as it is inside, as Go wants them equal.
    pub(crate) fn agree_on_algorithm(&mut self) {
        let Content::Nodes(_, fields) = &mut self.content else { return };
        let Some(Content::Nodes(_, signed)) = fields.first().map(|signed| &signed.content) else { return };
        let at = if signed.first().is_some_and(|version| version.tag == 0xa0) { 2 } else { 1 };
        if let (Some(inside), true) = (signed.get(at).cloned(), fields.len() > 1) {
            fields[1] = inside;
        }
    }

    /// At one place; what is put in comes from other trees.
    pub(crate) fn change(&mut self, random: &mut Random, others: &[Self]) {
        let mut other = &others[random.below(others.len())];
        while let Content::Nodes(_, nodes) = &other.content
            && !nodes.is_empty()
            && !random.one_in(6)
        {
            other = &nodes[random.below(nodes.len())];
        }
        let place = random.below(self.count());
        self.change_at(place, random, other);
    }

    fn count(&self) -> usize {
        match &self.content {
            Content::Bytes(_) => 1,
            Content::Nodes(_, nodes) => 1 + nodes.iter().map(Self::count).sum::<usize>(),
        }
    }

    /// The node of this number, from above.
    fn change_at(&mut self, place: usize, random: &mut Random, other: &Self) {
        if place == 0 {
            return self.change_self(random);
        }
        let Content::Nodes(_, nodes) = &mut self.content else { return };
        let mut before = 1;
        let at = nodes.iter().position(|node| {
            let is_here = place < before + node.count();
            before += if is_here { 0 } else { node.count() };
            is_here
        });
        let Some(at) = at else { return };
        if place > before || !random.one_in(3) {
            return nodes[at].change_at(place - before, random, other);
        }
        match random.below(6) {
            0 | 1 => drop(nodes.remove(at)),
            2 => nodes.insert(at, nodes[at].clone()),
            3 => {
                let with = random.below(nodes.len());
                nodes.swap(at, with);
            }
            4 => nodes.insert(at, other.clone()),
            _ => nodes[at] = other.clone(),
        }
    }

    fn change_self(&mut self, random: &mut Random) {
        const TAGS: [u8; 24] = [
            0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0a, 0x0c, 0x12, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1e, 0x30, 0x31, 0x80,
            0x81, 0x82, 0x86, 0x87, 0xa0, 0xa1,
        ];
        match random.below(20) {
            0 | 1 => self.tag = TAGS[random.below(TAGS.len())],
            2 => self.tag ^= 1 << random.below(8),
            3 if random.one_in(3) => {
                let lengths = [Length::Long, Length::Off(1), Length::Off(-1), Length::Indefinite];
                self.length = lengths[random.below(lengths.len())];
            }
            4 => self.content = Content::Bytes(Vec::new()),
            _ => {
                if let Content::Bytes(bytes) = &mut self.content {
                    change_bytes(self.tag, bytes, random);
                } else if let Content::Nodes(before, nodes) = &mut self.content {
                    match random.below(4) {
                        0 if !before.is_empty() => before[0] = random.below(10) as u8,
                        1 => nodes.truncate(random.below(nodes.len() + 1)),
                        2 => {
                            let at = random.below(nodes.len() + 1);
                            let null = Self { tag: 5, content: Content::Bytes(Vec::new()), length: Length::Right };
                            nodes.insert(at, null);
                        }
                        _ => nodes.reverse(),
                    }
                }
            }
        }
    }
}

fn change_bytes(tag: u8, bytes: &mut Vec<u8>, random: &mut Random) {
    const INTEGERS: [&[u8]; 12] = [
        &[],
        &[0],
        &[1],
        &[2],
        &[3],
        &[0xff],
        &[0x80],
        &[0, 0x80],
        &[0, 1],
        &[0xff, 0x80],
        &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0, 0x80, 0, 0, 0, 0, 0, 0, 0],
    ];
    const OIDS: [&[u8]; 12] = [
        &[],
        &[0x55, 4, 3],
        &[0x55, 0x1d, 17],
        &[0x55, 0x1d, 30],
        &[0x55, 0x1d, 32],
        &[0x80, 1],
        &[0x2a, 0x80, 1],
        &[0x2a, 0x87, 0xff, 0xff, 0xff, 0x7f],
        &[0x2a, 0x88, 0x80, 0x80, 0x80, 0],
        &[0x2a, 0x90, 0x80, 0x80, 0x80, 0x80, 0],
        &[0x2a, 0x83],
        &[0x88, 0x37, 3],
    ];
    const TIMES: [&str; 16] = [
        "240229120000Z",
        "230229120000Z",
        "500101000000Z",
        "4912312359Z",
        "240101000000+0130",
        "240101000000-2459",
        "2401010000+0000",
        "240101000000.5Z",
        "20240101000000Z",
        "00000229000000Z",
        "21000229000000Z",
        "99991231235959Z",
        "20240101000000-0001",
        "202401010000Z",
        "20240101000060Z",
        "20241301000000Z",
    ];
    match tag {
        0x01 => *bytes = random.pick::<[u8]>(&[&[0], &[0xff], &[1], &[], &[0xff, 0xff]]).to_vec(),
        0x02 | 0x80 | 0x81 if random.one_in(2) => *bytes = random.pick(&INTEGERS).to_vec(),
        0x06 if random.one_in(2) => *bytes = random.pick(&OIDS).to_vec(),
        0x17 | 0x18 if random.one_in(2) => *bytes = random.pick(&TIMES).as_bytes().to_vec(),
        0x17 | 0x18 => put(bytes, random, b"0123456789Z+-"),
        0x0c | 0x12..=0x16 | 0x1e | 0x81 | 0x82 | 0x86 => {
            put(bytes, random, b".@:/%[]\\\"#? ,+*&_-2aZ\0\x7f\x80\xc3\xa9\xd8\xff");
        }
        _ => put(bytes, random, &[0, 1, 4, 0x7f, 0x80, 0xfe, 0xff, 0xc0]),
    }
}

/// A byte more, less, or another.
fn put(bytes: &mut Vec<u8>, random: &mut Random, from: &[u8]) {
    for _ in 0..1 + random.below(3) / 2 {
        let (at, new) = (random.below(bytes.len() + 1), from[random.below(from.len())]);
        match random.below(4) {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 | 2 if at < bytes.len() => bytes[at] = new,
            _ => bytes.insert(at, new),
        }
    }
}

fn write_length(der: &mut Vec<u8>, length: usize) {
    match length {
        0..0x80 => der.push(length as u8),
        0x80..0x100 => der.extend([0x81, length as u8]),
        _ => der.extend([0x82, (length >> 8) as u8, length as u8]),
    }
}

fn read_all(mut der: &[u8]) -> Option<Vec<Node>> {
    let mut nodes = Vec::new();
    while let [tag, first, rest @ ..] = der {
        let (length, rest) = match first {
            ..=0x7f => (usize::from(*first), rest),
            0x81 => (usize::from(*rest.first()?), &rest[1..]),
            0x82 => (usize::from(*rest.first()?) << 8 | usize::from(*rest.get(1)?), &rest[2..]),
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        nodes.push(Node { tag: *tag, content: read_content(*tag, content)?, length: Length::Right });
        der = after;
    }
    der.is_empty().then_some(nodes)
}

fn read_content(tag: u8, content: &[u8]) -> Option<Content> {
    if tag & 0x20 != 0 {
        return Some(Content::Nodes(Vec::new(), read_all(content)?));
    }
    let (before, inside) = match (tag, content) {
        (0x03, [unused, inside @ ..]) => (vec![*unused], inside),
        (0x04, inside) => (Vec::new(), inside),
        _ => return Some(Content::Bytes(content.to_vec())),
    };
    match Node::read(inside) {
        Some(node) => Some(Content::Nodes(before, vec![node])),
        None => Some(Content::Bytes(content.to_vec())),
    }
}
