//! The grammar of label selectors in query parameters.

use super::SelectorError;
use super::label::{Operator, Requirement};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Symbol(&'static str),
    End,
}

impl Token<'_> {
    fn literal(self) -> String {
        match self {
            Self::Word(word) => word.to_owned(),
            Self::Symbol(symbol) => symbol.to_owned(),
            Self::End => String::new(),
        }
    }
}

const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

pub(super) struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(mut text: &'a str) -> Self {
        let mut tokens = Vec::new();
        loop {
            text = text.trim_start_matches([' ', '\t', '\r', '\n']);
            if text.is_empty() {
                break;
            }
            if let Some(symbol) = SYMBOLS.iter().find(|symbol| text.starts_with(**symbol)) {
                tokens.push(Token::Symbol(symbol));
                text = &text[symbol.len()..];
                continue;
            }
            let end = text.find([' ', '\t', '\r', '\n', '=', '!', '(', ')', ',', '>', '<']).unwrap_or(text.len());
            tokens.push(Token::Word(&text[..end]));
            text = &text[end..];
        }
        Self { tokens, next: 0 }
    }

    fn peek(&self) -> Token<'a> {
        self.tokens.get(self.next).copied().unwrap_or(Token::End)
    }

    fn take(&mut self) -> Token<'a> {
        let token = self.peek();
        self.next += 1;
        token
    }

    pub(super) fn requirements(mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                Token::End => return Ok(requirements),
                Token::Word(_) | Token::Symbol("!") => requirements.push(self.requirement()?),
                other => {
                    return Err(SelectorError(format!(
                        "found '{}', expected: !, identifier, or 'end of string'",
                        other.literal()
                    )));
                }
            }
            match self.take() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") => match self.peek() {
                    Token::Word(_) | Token::Symbol("!") => {}
                    other => return Err(SelectorError(format!("found '{}', expected: identifier after ','", other.literal()))),
                },
                other => return Err(SelectorError(format!("found '{}', expected: ',' or 'end of string'", other.literal()))),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.peek() == Token::Symbol("!");
        if negated {
            self.take();
        }
        let key = match self.take() {
            Token::Word(key) => key,
            other => return Err(SelectorError(format!("found '{}', expected: identifier", other.literal()))),
        };
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, []);
        }
        match self.peek() {
            Token::End | Token::Symbol(",") => return Requirement::new(key, Operator::Exists, []),
            _ => {}
        }
        match self.take() {
            Token::Symbol("=" | "==") => Requirement::new(key, Operator::In, [self.exact_value()?]),
            Token::Symbol("!=") => Requirement::new(key, Operator::NotIn, [self.exact_value()?]),
            Token::Symbol(">") => Requirement::new(key, Operator::Gt, [self.exact_value()?]),
            Token::Symbol("<") => Requirement::new(key, Operator::Lt, [self.exact_value()?]),
            Token::Word("in") => Requirement::new(key, Operator::In, self.values()?),
            Token::Word("notin") => Requirement::new(key, Operator::NotIn, self.values()?),
            other => Err(SelectorError(format!("found '{}', expected: in, notin, =, ==, !=, >, <", other.literal()))),
        }
    }

    fn exact_value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(word) => {
                self.take();
                Ok(word.to_owned())
            }
            other => Err(SelectorError(format!("found '{}', expected: identifier", other.literal()))),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.take() {
            Token::Symbol("(") => {}
            other => return Err(SelectorError(format!("found '{}', expected: '('", other.literal()))),
        }
        let mut values = Vec::new();
        let mut word = String::new();
        loop {
            match self.take() {
                Token::Word(text) if word.is_empty() => word = text.to_owned(),
                Token::Symbol(",") => values.push(std::mem::take(&mut word)),
                Token::Symbol(")") => {
                    values.push(word);
                    return Ok(values);
                }
                other => return Err(SelectorError(format!("found '{}', expected: ',', ')' or identifier", other.literal()))),
            }
        }
    }
}
